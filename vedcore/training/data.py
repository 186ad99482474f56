"""Data: labelled images, what is wrong with them before a run starts, and their order in it.

A data set is anything with ``len(data)`` and ``data[index] -> Sample``, a pure function of the index that may be called in
another process: a map-style data set of torch. The order is a pure function of the seed and the step.
B images, C channels, H x W pixels, T tokens of the longest label.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from vedcore.errors import ConfigError, ImageError, TokenizerError, TrainingError, VedcoreError, foreign
from vedcore.model.loss import IGNORED
from vedcore.storage.files import parse_json
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


Row = dict[str, Any] | str
"""A row of a label file by its columns, or what is wrong with it."""


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
    bad_sample = "bad sample"
    unwritable = "unwritable character"
    special_token = "special token"
    too_long = "label too long"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a sample. detail says what was found, and where. As a string it is one line that can be written
    anywhere: what has no glyph is escaped.
    """

    fault: Fault
    source: str
    detail: str

    def __str__(self) -> str:
        return _printable(f"{self.source}: {self.fault} ({self.detail})")


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def counted(number: int, what: str) -> str:
    """``1 sample``, ``2 samples``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


_HALVES = re.compile("[\ud800-\udfff]")


def _is_text(value: Any) -> bool:
    """Whether it is a string that can be written: JSON and file names have halves of characters (lone surrogates)."""
    return isinstance(value, str) and not _HALVES.search(value)


class Folder:
    """A folder of images beside a labels.jsonl (``{"file": ..., "text": ...}`` a line), a labels.csv (columns file and
    text), or one .txt an image.

    Raises ConfigError where there is none of them. Samples that cannot be used are in ``problems`` and in no index.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.problems: list[Problem] = []
        self._rows: list[tuple[Path, str]] = []
        shown = _printable(str(path))[:200]  # of a name that may be longer than any name is
        with foreign(ConfigError, f"{shown}: the folder cannot be read"):
            self._look_through()
        if not self._rows and not self.problems:
            raise ConfigError(
                f"{self.path}: no labelled images; expected {' or '.join(LABEL_FILES)}, or a .txt beside each image"
            )

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        path, text = self._rows[index]
        return Sample(path, text, str(path))

    def digest(self) -> str:
        """A hash of the names in the folder and their texts, in their order; of the images nothing is read."""
        rows = [(path.relative_to(self.path).as_posix(), text) for path, text in self._rows]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]

    def _look_through(self) -> None:
        if not self.path.is_dir():
            raise ConfigError(f"{self.path}: no such folder; data is a folder of images with their labels")
        found = [name for name in LABEL_FILES if (self.path / name).is_file()]
        if len(found) > 1:
            raise ConfigError(f"{self.path}: {' and '.join(found)} are both there; keep the one that is meant")
        texts = self._listed(self.path / found[0]) if found else self._beside()
        for file, text in texts.items():
            self._add(file, text)

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
        for number, row in rows(path):
            wrong = self._wrong_with(row)
            if wrong or isinstance(row, str):
                self._refuse(Fault.bad_row, f"{path}:{number}", wrong)
            else:
                texts.setdefault(Path(row["file"]).as_posix(), []).append(row["text"])
        for file, several in texts.items():
            if len(several) > 1:
                shown = ", ".join(repr(text[:40]) for text in several[:3])
                self._refuse(Fault.two_labels, str(self.path / file), f"{path.name} has {len(several)}: {shown}")
        for image in self._images():
            if image.relative_to(self.path).as_posix() not in texts:
                self._refuse(Fault.no_label, str(image), f"not in {path.name}")
        return {file: several[0] for file, several in texts.items() if len(several) == 1}

    def _wrong_with(self, row: Row) -> str:
        """Why a row is no label; an empty text if it is one."""
        if isinstance(row, str):
            return row
        for value in (row.get("file"), row.get("text")):
            if not isinstance(value, str):
                return "expected file and text, both strings"
            if not _is_text(value):
                return f"{value[:40]!r} holds half of a character (a lone surrogate)"
        try:
            (self.path / row["file"]).is_file()
        except OSError as cause:
            return f"no file can be looked for by the name {row['file'][:40]!r} ({cause.strerror})"
        return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as cause:
        raise ConfigError(f"{path}: labels must be text in UTF-8 ({cause})") from cause


def _jsonl_rows(path: Path) -> list[tuple[int, Row]]:
    lines = enumerate(_read(path).split("\n"), 1)
    found = [(number, _jsonl_row(line)) for number, line in lines if line.strip()]
    rows = [row for _, row in found if isinstance(row, dict)]
    if rows and not any(row.keys() >= {"file", "text"} for row in rows):
        raise _other_columns(path, rows[0])
    return found


def _jsonl_row(line: str) -> Row:
    try:
        return parse_json(line.encode(), "the line")
    except ConfigError as error:
        return str(error)


def _csv_rows(path: Path) -> Iterator[tuple[int, Row]]:
    rows = _csv_fields(_read(path))
    number, columns = next(rows, (1, []))
    if isinstance(columns, str):
        raise ConfigError(f"{path}:{number}: {columns}")
    if columns and not {"file", "text"} <= set(columns):
        raise _other_columns(path, columns)
    if twice := [name for name in columns if name and columns.count(name) > 1]:
        raise ConfigError(f"{path}: column {twice[0]!r} appears twice; keep the one that is meant")
    for number, fields in rows:
        if isinstance(fields, str):
            yield number, fields
        elif len(fields) != len(columns):
            counts = f"{len(fields)} fields where the first line has {len(columns)}"
            yield number, f"{counts}; a text with a comma is to stand in double quotes"
        else:
            yield number, dict(zip(columns, fields, strict=True))


def _csv_fields(content: str) -> Iterator[tuple[int, list[str] | str]]:
    """The rows that are not empty, each with the number of its first line; or why it is none."""
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    while True:
        number = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as cause:  # the reader goes on with the line that follows
            yield number, f"{cause}; a text in double quotes ends with one, and those inside it are doubled"
            continue
        if fields:
            yield number, fields


def _other_columns(path: Path, names: Iterable[str]) -> ConfigError:
    named = ", ".join(map(repr, names)) or "none"
    return ConfigError(f"{path}: needs 'file' and 'text' in each row, separated by commas in a CSV; it has {named}")


# Data that somebody's code makes.


class BadSample(TrainingError):
    """At an index there is no sample, but its ``problem``."""

    @property
    def problem(self) -> Problem:
        """What is there."""
        problem: Problem = self.args[0]
        return problem


class Guarded:
    """A data set that is somebody's code, as one that raises nothing but what vedcore raises, and says who.

    name: what to call it. Raises ConfigError where ``data`` has no usable length, BadSample at an index where it raises
    or gives anything but a Sample.
    """

    def __init__(self, data: Any, name: str) -> None:
        self.data, self.name = data, name
        with named(name), foreign(ConfigError, "not a data set, which has len() and a Sample by each index"):
            self._length = len(data)
            self.problems = list(getattr(data, "problems", ()))
        if not all(isinstance(problem, Problem) for problem in self.problems):
            raise ConfigError(f"{name}: its problems must be a list of Problem, got {str(self.problems)[:80]}")

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Sample:
        try:
            with _raised_as(TrainingError):
                sample = self.data[index]
        except VedcoreError as error:
            raise self._bad(index, f"{error}, {_place(error)}") from error
        if not isinstance(sample, Sample):
            raise self._bad(index, f"expected a Sample, found {type(sample).__name__}")
        for field in ("text", "source"):
            if not _is_text(value := getattr(sample, field)):
                raise self._bad(index, f"its {field} must be a string of whole characters, found {str(value)[:60]!r}")
        return sample

    def _bad(self, index: int, detail: str) -> BadSample:
        return BadSample(Problem(Fault.bad_sample, f"{self.name}, index {index}", detail))


@contextmanager
def named(name: str) -> Iterator[None]:
    """Turn whatever somebody's code raises into a ConfigError that begins with the ``name`` of that code."""
    try:
        with _raised_as(ConfigError):
            yield
    except VedcoreError as error:
        raise ConfigError(f"{name}: {error}") from error


@contextmanager
def _raised_as(error: type[VedcoreError]) -> Iterator[None]:
    """As ``foreign``; but a module that is a script as well must not end the run, as if all was done."""
    try:
        with foreign(error, "it raised"):
            yield
    except SystemExit as cause:
        raise error(f"it ended the program: SystemExit({cause})") from cause


def _place(error: BaseException) -> str:
    """Where it was raised: of a worker process no more than this comes to be known."""
    last = traceback.extract_tb((error.__cause__ or error).__traceback__)[-1]
    return f"{last.filename}:{last.lineno}"


def sample_at(data: Dataset, index: int) -> Sample | Problem:
    """``data[index]``, or what is there instead."""
    try:
        return data[index]
    except BadSample as error:
        return error.problem


# What is wrong.


class Writer:
    """A text -> the token ids that a model learns to write for it, its end token last; or the Problem that forbids it.

    longest: the decoder's positions, None for no limit.
    """

    def __init__(self, tokenizer: Any, end: int, longest: int | None) -> None:
        self.tokenizer, self.end, self.longest = tokenizer, end, longest
        self._lost = lru_cache(maxsize=None)(self._is_lost)
        self._special = lru_cache(maxsize=None)(self._is_special)

    def __reduce__(self) -> tuple[Any, ...]:
        return Writer, (self.tokenizer, self.end, self.longest)

    def __call__(self, text: str, source: str) -> list[int] | Problem:
        """The ids of ``text``."""
        try:
            return self._ids(text, source)
        except TokenizerError as error:
            return Problem(Fault.unwritable, source, str(error))

    def _ids(self, text: str, source: str) -> list[int] | Problem:
        if not text.strip():
            return Problem(Fault.empty_label, source, "nothing to learn")
        if lost := sorted({character for character in text if self._lost(character)}):
            named = ", ".join(f"{character!r} (U+{ord(character):04X})" for character in lost[:8])
            return Problem(Fault.unwritable, source, f"{named} in {text[:60]!r}; the tokenizer has no token for it")
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        if self.tokenizer.unk_token_id is not None and self.tokenizer.unk_token_id in ids:
            return Problem(Fault.unwritable, source, f"a word of {text[:60]!r} is unknown to the tokenizer")
        if special := [token for token in dict.fromkeys(ids) if self._special(token)]:
            named = ", ".join(repr(self.tokenizer.decode([token])) for token in special[:8])
            found = f"{named} in {text[:60]!r}; the tokenizer takes it for a special token, which no reading has"
            return Problem(Fault.special_token, source, found)
        if self.longest is not None and len(ids) + 1 > self.longest:
            found = f"{len(ids)} tokens and the end, the decoder has {self.longest} positions: {text[:60]!r}"
            return Problem(Fault.too_long, source, found)
        return [*ids, self.end]

    def _is_lost(self, character: str) -> bool:
        ids = self.tokenizer.encode(character, add_special_tokens=False)
        unknown = self.tokenizer.unk_token_id
        return (unknown is not None and unknown in ids) or (not ids and not character.isspace())

    def _is_special(self, token: int) -> bool:
        """Whether reading leaves it out: such are those of tokenizer.json too, which no setting names."""
        return bool(self.tokenizer.decode([token]) != self.tokenizer.decode([token], skip_special_tokens=True))


def check(data: Dataset, write: Writer, *, most: int | None = None) -> tuple[list[Problem], list[int]]:
    """What is wrong with the first ``most`` samples of ``data`` (None: all), and the indices of all the others.

    Every image is opened, and every label is put to tokens.
    """
    problems = list(getattr(data, "problems", ()))
    good: list[int] = []
    for index in range(len(data) if most is None else min(most, len(data))):
        sample = sample_at(data, index)
        problem = sample if isinstance(sample, Problem) else _problem_of(sample, write)
        if problem is None:
            good.append(index)
        else:
            problems.append(problem)
    return problems, good


def _problem_of(sample: Sample, write: Writer) -> Problem | None:
    found = write(sample.text, sample.source)
    return found if isinstance(found, Problem) else _image_problem(sample)


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


class Given:
    """The samples that ``data`` gives when it is first asked; what it gives instead of others is in ``problems``.

    So an evaluation counts them, as it does images that cannot be read, and goes on.
    """

    def __init__(self, data: Dataset) -> None:
        self.data = data

    @cached_property
    def _indices(self) -> tuple[list[int], list[Problem]]:
        problems = {i: found for i in range(len(self.data)) if isinstance(found := sample_at(self.data, i), Problem)}
        return [index for index in range(len(self.data)) if index not in problems], list(problems.values())

    @property
    def problems(self) -> list[Problem]:
        """One for each sample that is not given."""
        return self._indices[1]

    def __len__(self) -> int:
        return len(self._indices[0])

    def __getitem__(self, index: int) -> Sample:
        return self.data[self._indices[0][index]]


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
        sample = sample_at(self.data, index)
        if isinstance(sample, Problem):
            return sample
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
