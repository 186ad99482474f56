"""Data: labelled images, what is wrong with them before a run starts, and their order in it.

A data set is anything with ``len(data)`` and ``data[index] -> Sample``, a pure function of the index that may be called in
another process: a map-style data set of torch. The order is a pure function of the seed and the step.
B images, C channels, H x W pixels, T tokens of the longest label.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from vedcore.errors import ConfigError, ImageError
from vedcore.loss import IGNORED
from vedcore.vision import ImageSource, load_image

IMAGE_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp"}
LABEL_FILES = ("labels.jsonl", "labels.csv")
LARGEST_SHUFFLE = 2**24
"""A data set of more samples is made as it goes: its order is random as it stands, and shuffling it would fill memory."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An image with its text. source: what to call it when something is wrong with it."""

    image: ImageSource
    text: str
    source: str


class Dataset(Protocol):
    """Labelled images by their index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


class Fault(StrEnum):
    """What can be wrong with a sample."""

    missing_image = "missing image"
    unreadable_image = "unreadable image"
    no_label = "no label"
    empty_label = "empty label"
    two_labels = "two labels"
    bad_row = "bad row"
    unwritable = "unwritable character"
    too_long = "label too long"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a sample. detail says what was found, and where."""

    fault: Fault
    source: str
    detail: str

    def __str__(self) -> str:
        return f"{self.source}: {self.fault} ({self.detail})"


class Folder:
    """A folder of images beside a labels.jsonl (``{"file": ..., "text": ...}`` a line), a labels.csv (columns file and
    text), or one .txt an image.

    Raises ConfigError where there is none of them. Samples that cannot be used are in ``problems`` and in no index.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.problems: list[Problem] = []
        self._rows: list[tuple[Path, str]] = []
        if not self.path.is_dir():
            raise ConfigError(f"{self.path}: no such folder; data is a folder of images with their labels")
        found = [name for name in LABEL_FILES if (self.path / name).is_file()]
        if len(found) > 1:
            raise ConfigError(f"{self.path}: {' and '.join(found)} are both there; keep the one that is meant")
        texts = self._listed(self.path / found[0]) if found else self._beside()
        for file, text in texts.items():
            self._add(file, text)
        if not self._rows and not self.problems:
            raise ConfigError(
                f"{self.path}: no labelled images; expected {' or '.join(LABEL_FILES)}, or a .txt beside each image"
            )

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        path, text = self._rows[index]
        return Sample(path, text, str(path))

    def _add(self, file: str, text: str) -> None:
        path = self.path / file
        if Path(file).is_absolute() or ".." in Path(file).parts:
            self._refuse(Fault.missing_image, file, f"a file outside of {self.path} is not read")
        elif not path.is_file():
            self._refuse(Fault.missing_image, str(path), f"labelled {text[:40]!r}")
        elif not text.strip():
            self._refuse(Fault.empty_label, str(path), "nothing but space" if text else "an empty text")
        else:
            self._rows.append((path, text))

    def _refuse(self, fault: Fault, source: str, detail: str) -> None:
        self.problems.append(Problem(fault, source, detail))

    def _images(self) -> Iterator[Path]:
        files = sorted(self.path.rglob("*"))
        return (path for path in files if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())

    def _beside(self) -> dict[str, str]:
        """The texts of the .txt files, by image."""
        texts: dict[str, str] = {}
        images: dict[Path, str] = {}
        for path in self._images():
            name, label = str(path.relative_to(self.path)), path.with_suffix(".txt")
            if label in images:
                self._refuse(Fault.two_labels, str(path), f"{label.name} is the label of {images[label]} too")
                texts.pop(images[label], None)
            elif not label.is_file():
                self._refuse(Fault.no_label, str(path), f"no {label.name} beside it")
            else:
                texts[name] = _read(label).rstrip("\r\n")
            images[label] = name
        return texts

    def _listed(self, path: Path) -> dict[str, str]:
        """The texts of a label file, by image."""
        rows = _jsonl_rows if path.suffix == ".jsonl" else _csv_rows
        texts: dict[str, list[str]] = {}
        found = list(rows(_read(path)))
        if found and not any(row.keys() >= {"file", "text"} for _, row in found):
            named = ", ".join(repr(name) for name in found[0][1]) or "none"
            raise ConfigError(
                f"{path}: needs 'file' and 'text' in each row, separated by commas in a CSV; it has {named}"
            )
        for number, row in found:
            file, text = row.get("file"), row.get("text")
            if not isinstance(file, str) or not isinstance(text, str):
                self._refuse(Fault.bad_row, f"{path}:{number}", "expected file and text, both strings")
            else:
                texts.setdefault(Path(file).as_posix(), []).append(text)
        for file, several in texts.items():
            if len(several) > 1:
                shown = ", ".join(repr(text[:40]) for text in several[:3])
                self._refuse(Fault.two_labels, str(self.path / file), f"{path.name} has {len(several)}: {shown}")
        for image in self._images():
            if image.relative_to(self.path).as_posix() not in texts:
                self._refuse(Fault.no_label, str(image), f"not in {path.name}")
        return {file: several[0] for file, several in texts.items() if len(several) == 1}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as cause:
        raise ConfigError(f"{path}: labels must be text in UTF-8 ({cause})") from cause


def _jsonl_rows(content: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        yield number, row if isinstance(row, dict) else {}


def _csv_rows(content: str) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(content, newline=""))
    for row in reader:
        yield reader.line_num, row


# What is wrong.


class Writer:
    """A text -> the token ids that a model learns to write for it, its end token last; or the Problem that forbids it.

    longest: the decoder's positions, None for no limit.
    """

    def __init__(self, tokenizer: Any, end: int, longest: int | None) -> None:
        self.tokenizer, self.end, self.longest = tokenizer, end, longest
        self._lost = lru_cache(maxsize=None)(self._is_lost)

    def __reduce__(self) -> tuple[Any, ...]:
        return Writer, (self.tokenizer, self.end, self.longest)

    def __call__(self, text: str, source: str) -> list[int] | Problem:
        """The ids of ``text``."""
        if not text.strip():
            return Problem(Fault.empty_label, source, "nothing to learn")
        if lost := sorted({character for character in text if self._lost(character)}):
            named = ", ".join(f"{character!r} (U+{ord(character):04X})" for character in lost[:8])
            return Problem(Fault.unwritable, source, f"{named} in {text[:60]!r}; the tokenizer has no token for it")
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        if self.tokenizer.unk_token_id is not None and self.tokenizer.unk_token_id in ids:
            return Problem(Fault.unwritable, source, f"a word of {text[:60]!r} is unknown to the tokenizer")
        if self.longest is not None and len(ids) + 1 > self.longest:
            found = f"{len(ids)} tokens and the end, the decoder has {self.longest} positions: {text[:60]!r}"
            return Problem(Fault.too_long, source, found)
        return [*ids, self.end]

    def _is_lost(self, character: str) -> bool:
        ids = self.tokenizer.encode(character, add_special_tokens=False)
        unknown = self.tokenizer.unk_token_id
        return (unknown is not None and unknown in ids) or (not ids and not character.isspace())


def check(data: Dataset, write: Writer, *, most: int | None = None) -> tuple[list[Problem], list[int]]:
    """What is wrong with the first ``most`` samples of ``data`` (None: all), and the indices of all the others.

    Every image is opened, and every label is put to tokens.
    """
    problems = list(getattr(data, "problems", ()))
    good: list[int] = []
    for index in range(len(data) if most is None else min(most, len(data))):
        sample = data[index]
        found = write(sample.text, sample.source)
        if not isinstance(found, Problem):
            found = _image_problem(sample) or found
        if isinstance(found, Problem):
            problems.append(found)
        else:
            good.append(index)
    return problems, good


def _image_problem(sample: Sample) -> Problem | None:
    try:
        load_image(sample.image)
    except ImageError as error:
        return Problem(Fault.unreadable_image, sample.source, str(error))
    return None


class Chosen:
    """Some samples of a data set, by their indices there."""

    def __init__(self, data: Dataset, indices: Sequence[int]) -> None:
        self.data, self.indices = data, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        return self.data[self.indices[index]]


# In what order, and as what a model takes.


def order(length: int, seed: tuple[int, ...], start: int, count: int) -> list[int]:
    """The indices at places ``start`` to ``start + count`` of the endless order of ``length`` samples that ``seed`` gives.

    Epoch after epoch each sample comes once, newly shuffled.
    """
    places = range(start, start + count)
    if length > LARGEST_SHUFFLE:
        return [place % length for place in places]
    return [_shuffled(length, (*seed, place // length))[place % length] for place in places]


@lru_cache(maxsize=2)
def _shuffled(length: int, seed: tuple[int, ...]) -> list[int]:
    indices: list[int] = np.random.default_rng(seed).permutation(length).tolist()
    return indices


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Which samples each pass of a stage takes: a batch sampler of DataLoader, which yields keys of ``Examples``.

    length: of the data. seed: of the stage. steps: where it ends, None for never. size: images a step. accumulation, rank,
    world: a step is ``accumulation`` passes in each of ``world`` processes. What a step learns from follows from the seed and
    its number alone.
    """

    length: int
    seed: tuple[int, ...]
    start: int
    steps: int | None
    size: int
    accumulation: int = 1
    rank: int = 0
    world: int = 1

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        share = self.size // (self.accumulation * self.world)
        for step in count(self.start) if self.steps is None else range(self.start, self.steps):
            for part in range(self.accumulation):
                first = step * self.size + (part * self.world + self.rank) * share
                indices = order(self.length, self.seed, first, share)
                yield list(zip(indices, range(first, first + share), strict=True))


@dataclass(frozen=True, slots=True)
class Example:
    """A sample as a model takes it. pixels: (C, H, W) float32; ids: the label's tokens, the end token last."""

    pixels: np.ndarray[Any, Any]
    ids: list[int]
    source: str


class Examples:
    """The examples of a data set, prepared in the process that asks: ``examples[index, place]``.

    ``place``, where in its stage it comes, is what the augmentation follows from, with the seed. A sample that turns out
    unusable is its Problem.
    """

    def __init__(
        self,
        data: Dataset,
        process: Callable[..., Any],
        write: Writer,
        augment: Callable[..., Any],
        seed: tuple[int, ...],
    ) -> None:
        self.data, self.process, self.write, self.augment, self.seed = data, process, write, augment, seed

    def __getitem__(self, key: tuple[int, int]) -> Example | Problem:
        index, place = key
        sample = self.data[index]
        ids = self.write(sample.text, sample.source)
        if isinstance(ids, Problem):
            return ids
        try:
            image = self.augment(load_image(sample.image), np.random.default_rng((*self.seed, place)))
            pixels = self.process(image, return_tensors="np")["pixel_values"][0]
        except ImageError as error:
            return Problem(Fault.unreadable_image, sample.source, str(error))
        return Example(pixels, ids, sample.source)


class Minibatch(NamedTuple):
    """pixels: (B, C, H, W) float32. labels: (B, T) long, -100 behind the end token. problems: what is not among the B."""

    pixels: Tensor
    labels: Tensor
    sources: list[str]
    problems: list[Problem]


def collate(found: Sequence[Example | Problem]) -> Minibatch:
    """The examples among ``found`` as one batch; none of them is an empty one."""
    examples = [item for item in found if isinstance(item, Example)]
    longest = max((len(example.ids) for example in examples), default=0)
    labels = torch.full((len(examples), longest), IGNORED)
    for row, example in zip(labels, examples, strict=True):
        row[: len(example.ids)] = torch.tensor(example.ids)
    pixels = torch.from_numpy(np.stack([example.pixels for example in examples])) if examples else torch.empty(0)
    problems = [item for item in found if isinstance(item, Problem)]
    return Minibatch(pixels, labels, [example.source for example in examples], problems)
