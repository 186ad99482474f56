"""Images in, text out: the image processor, the model and the tokenizer of one checkpoint.

reader = Reader.load("line-reader")
for reading in reader.read(["a.png", "b.png"]):
    print(reading.text, reading.confidence)
"""

from __future__ import annotations

import copy
import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import attrs
import numpy as np
import torch

from vedcore.config import pair
from vedcore.contract.types import Batch
from vedcore.errors import CheckpointNotFound, ConfigError, ImageError, InputError, TokenizerError
from vedcore.generation import StreamedTokens
from vedcore.model import VisionEncoderDecoderModel
from vedcore.registry import registry
from vedcore.storage.hub import resolve
from vedcore.storage.own import OWN_FILE, own_settings
from vedcore.text import Tokenizer, settled
from vedcore.vision import CutRule, ImageProcessor, cut_line, load_image

Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a long line: where it was cut, (left, top, right, bottom) in pixels of the image, and its text."""

    box: Box
    text: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read from one image.

    confidence: exp(mean log-probability of the tokens, the end token included), 0 to 1. token_ids, token_logprobs: what was
    written behind the start token, the end token included, one for one. stop_reason: "eos", or why the text ends before its
    end. source: what was given. pieces: of a line that was cut, else empty.
    """

    text: str
    confidence: float
    token_ids: tuple[int, ...]
    token_logprobs: tuple[float, ...]
    stop_reason: str
    source: Any
    pieces: tuple[Piece, ...] = ()


@dataclass(frozen=True, slots=True)
class Fragment:
    """What is new of an image's text; all of its fragments, joined, are the text of its Reading.

    index: the place of the image among those that were given. source: the image, as it was given.
    """

    index: int
    source: Any
    text: str


class Processor:
    """An image processor and a tokenizer: the files of a checkpoint beside its weights."""

    def __init__(self, image_processor: ImageProcessor, tokenizer: Tokenizer) -> None:
        self.image_processor, self.tokenizer = image_processor, tokenizer

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str], *, revision: str | None = None) -> Self:
        """The processor of a folder or a hub id."""
        folder = resolve(name, revision=revision, weights=False)
        return cls(ImageProcessor.from_pretrained(folder), Tokenizer.from_pretrained(folder))

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write both to ``folder``, for transformers too."""
        self.image_processor.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def __call__(
        self, images: Any = None, text: Any = None, *, return_tensors: Literal["pt", "np"] = "pt", **text_options: Any
    ) -> Batch:
        """``pixel_values`` of images; ``labels`` too where a text is given with them; ``input_ids`` of a text alone.

        Raises InputError for neither, ImageError or TokenizerError for what cannot be read, or an empty list.
        """
        if images is None and text is None:
            raise InputError("a processor needs images, a text, or both")
        batch = Batch()
        if images is not None:
            batch.update(self.image_processor(images, return_tensors=return_tensors))
        if text is not None:
            encoded = self.tokenizer(text, return_tensors=return_tensors, **text_options)
            batch.update({"labels": encoded["input_ids"]} if images is not None else encoded)
        return batch

    def batch_decode(self, ids: Any, *, skip_special_tokens: bool = False) -> list[str]:
        """Ids to texts, as the tokenizer does."""
        return self.tokenizer.batch_decode(ids, skip_special_tokens=skip_special_tokens)

    def decode(self, ids: Any, *, skip_special_tokens: bool = False) -> str:
        """One row of ids to its text."""
        return self.tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)


@dataclass(slots=True)
class _Job:
    """An image on its way: the boxes of its pieces (none when it is read whole), and what was read of each."""

    source: Any
    boxes: list[Box] = field(default_factory=list)
    readings: list[Reading | None] = field(default_factory=list)
    error: ImageError | None = None

    @property
    def finished(self) -> bool:
        return all(reading is not None for reading in self.readings)


@dataclass(slots=True)
class _Telling:
    """An image whose text is told as it comes: what is sure of each piece's text, which are over, and how much is told."""

    index: int
    source: Any
    separator: str
    ids: list[list[int]]
    texts: list[str]
    over: list[bool]
    told: int = 0

    def add(self, piece: int, new: StreamedTokens, tokenizer: Tokenizer) -> str:
        """What can be told now that ``piece`` has ``new`` tokens: pieces are told in order."""
        ids = self.ids[piece]
        ids += new.tokens
        self.over[piece] = new.stop_reason is not None
        whole = self.over[piece]
        self.texts[piece] = tokenizer.decode(ids, skip_special_tokens=True) if whole else settled(tokenizer, ids)
        complete = self.over.index(False) if False in self.over else len(self.over)
        text = self.separator.join(self.texts[: complete + 1])
        fresh, self.told = text[self.told :], max(self.told, len(text))
        return fresh


_W = TypeVar("_W", _Job, _Telling)
_Waiting = tuple[_W, int, np.ndarray]
"""A piece that waits for its batch: whose it is, which one, and its pixels."""


class Reader:
    """Reads images with one checkpoint."""

    def __init__(self, model: VisionEncoderDecoderModel, processor: Processor, cut_rule: CutRule | None = None) -> None:
        """TokenizerError for a tokenizer that has tokens beyond the model's vocabulary."""
        largest, size = max(processor.tokenizer.get_vocab().values()), model.decoder.vocab_size
        if largest >= size:
            raise TokenizerError(
                f"the tokenizer has ids up to {largest}, but the decoder's vocabulary has {size} tokens, so it is another "
                "model's: load both from one folder"
            )
        self.model, self.processor, self.cut_rule = model, processor, cut_rule

    @classmethod
    def load(
        cls,
        name: str | os.PathLike[str],
        *,
        revision: str | None = None,
        allow_pickle: bool = False,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> Self:
        """The reader of a folder, of a checkpoint that a plugin ships, or of a hub id ("owner/name")."""
        folder = locate(name, revision=revision, allow_pickle=allow_pickle)
        model = VisionEncoderDecoderModel.from_pretrained(folder, allow_pickle=allow_pickle, dtype=dtype, device=device)
        return cls(model, Processor.from_pretrained(folder), read_cut_rule(folder))

    def read(self, images: Any, *, batch_size: int = 16, cut: bool = True, **generation_fields: Any) -> list[Reading]:
        """One Reading an image, in order. Images are paths, bytes, PIL images or arrays.

        cut: cut long lines where the checkpoint has a rule for it. ``generation_fields``: as in ``model.generate``.
        Raises ImageError at the first image that cannot be read; ``each`` goes on behind it.
        """
        readings = []
        for reading in self.each(images, batch_size=batch_size, cut=cut, **generation_fields):
            if isinstance(reading, ImageError):
                raise reading
            readings.append(reading)
        return readings

    def each(
        self, images: Any, *, batch_size: int = 16, cut: bool = True, **generation_fields: Any
    ) -> Iterator[Reading | ImageError]:
        """A Reading an image as soon as it is there, in order, or the ImageError that says why there is none."""
        self._check(batch_size, generation_fields)
        jobs: deque[_Job] = deque()
        waiting: list[_Waiting[_Job]] = []
        for source in _several(images):
            job = _Job(source)
            jobs.append(job)
            try:
                pieces = self._pieces(source, job, cut)
            except ImageError as error:
                job.error, pieces = error, []
            waiting += [(job, index, pixels) for index, pixels in enumerate(pieces)]
            for batch in _complete(waiting, batch_size):
                self._read(batch, generation_fields)
            while jobs and jobs[0].finished:
                yield self._finish(jobs.popleft())
        if waiting:
            self._read(waiting, generation_fields)
        for job in jobs:
            yield self._finish(job)

    def stream(
        self, images: Any, *, batch_size: int = 16, cut: bool = True, **generation_fields: Any
    ) -> Iterator[Fragment]:
        """The texts that ``read`` would give, piece by piece as the tokens come; images of one batch in turns.

        No character comes in halves, and the pieces of a line that was cut come in order. With ``num_beams`` comes what is
        certain. Raises ImageError at the first image that cannot be read.
        """
        self._check(batch_size, generation_fields)
        separator = "" if self.cut_rule is None else self.cut_rule.separator
        waiting: list[_Waiting[_Telling]] = []
        for index, source in enumerate(_several(images)):
            pieces = self._pieces(source, _Job(source), cut)
            count = len(pieces)
            telling = _Telling(index, source, separator, [[] for _ in pieces], [""] * count, [False] * count)
            waiting += [(telling, place, pixels) for place, pixels in enumerate(pieces)]
            for batch in _complete(waiting, batch_size):
                yield from self._tell(batch, generation_fields)
        if waiting:
            yield from self._tell(waiting, generation_fields)

    def _check(self, batch_size: int, generation_fields: dict[str, Any]) -> None:
        if not isinstance(batch_size, int | np.integer) or batch_size < 1:
            raise ConfigError(f"batch_size must be an int of at least 1, got {batch_size!r}")
        self._check_size()
        self.model.generation_config.with_fields(**generation_fields)
        if generation_fields.get("num_return_sequences") not in (None, 1):
            raise ConfigError("a reading is the best text of its image; for several call model.generate")

    def _check_size(self) -> None:
        """ConfigError where the encoder does not take the size that the image processor makes, before images are made.

        Only where it is not the encoder's own is the encoder asked, without its weights: many take any.
        """
        encoder, made = self.model.encoder, self.processor.image_processor.output_size
        size = getattr(getattr(encoder, "config", None), "image_size", None)
        if size is None or made is None or pair(size) == made:
            return
        weights: dict[int, Any] = {
            id(tensor): torch.empty_like(tensor, device="meta")
            for tensor in (*encoder.parameters(), *encoder.buffers())
        }
        try:
            with torch.inference_mode():
                copy.deepcopy(encoder, weights)(torch.empty(1, 3, *made, device="meta"))
        except InputError as error:
            raise ConfigError(
                f"the image processor makes images of {made[0]} x {made[1]} pixels, but the encoder is made for "
                f"{' x '.join(map(str, pair(size)))} (height x width) and does not take them; set size, and crop_size where "
                "that is used, in preprocessor_config.json to the encoder's"
            ) from error
        except Exception:  # it cannot be asked so: the first image will tell
            return

    def _tell(self, batch: list[_Waiting[_Telling]], generation_fields: dict[str, Any]) -> Iterator[Fragment]:
        pixel_values = torch.from_numpy(np.stack([pixels for _, _, pixels in batch]))
        fields = {**generation_fields, "num_return_sequences": 1}
        for new in self.model.stream(pixel_values.to(self.model.device), **fields):
            telling, piece, _ = batch[new.row]
            if text := telling.add(piece, new, self.processor.tokenizer):
                yield Fragment(telling.index, telling.source, text)

    def _pieces(self, source: Any, job: _Job, cut: bool) -> list[np.ndarray]:
        """The processed pixels (C, height, width) of each piece of an image."""
        image = load_image(source)
        pieces = cut_line(np.asarray(image), self.cut_rule) if cut and self.cut_rule is not None else []
        job.boxes = [piece.box for piece in pieces]
        parts: list[Any] = [piece.pixels for piece in pieces] or [image]
        process = self.processor.image_processor  # of each alone: they may come out of several sizes
        pixels: list[np.ndarray] = [process(part, return_tensors="np")["pixel_values"][0] for part in parts]
        job.readings = [None] * len(pixels)
        return pixels

    def _read(self, batch: list[_Waiting[_Job]], generation_fields: dict[str, Any]) -> None:
        pixel_values = torch.from_numpy(np.stack([pixels for _, _, pixels in batch]))
        output = self.model.generate(
            pixel_values.to(self.model.device),
            **{**generation_fields, "return_dict_in_generate": True, "num_return_sequences": 1},
        )
        prompt = output.sequences.shape[1] - output.token_logprobs.shape[1]
        rows = zip(
            batch,
            output.sequences.tolist(),
            output.token_logprobs.tolist(),
            output.lengths.tolist(),
            output.confidences.tolist(),
            output.stop_reasons,
            strict=True,
        )
        for (job, index, _), ids, logprobs, length, confidence, reason in rows:
            written = tuple(ids[prompt:length])
            text = self.processor.tokenizer.decode(written, skip_special_tokens=True)
            job.readings[index] = Reading(
                text, confidence, written, tuple(logprobs[: len(written)]), reason, job.source
            )

    def _finish(self, job: _Job) -> Reading | ImageError:
        if job.error is not None:
            return job.error
        parts = [reading for reading in job.readings if reading is not None]
        if not job.boxes or self.cut_rule is None:
            return parts[0]
        logprobs = tuple(value for part in parts for value in part.token_logprobs)
        return Reading(
            text=self.cut_rule.separator.join(part.text for part in parts),
            confidence=float(np.exp(np.mean(logprobs))),
            token_ids=tuple(token for part in parts for token in part.token_ids),
            token_logprobs=logprobs,
            stop_reason=next((part.stop_reason for part in parts if part.stop_reason != "eos"), "eos"),
            source=job.source,
            pieces=tuple(Piece(box, part.text) for box, part in zip(job.boxes, parts, strict=True)),
        )


def _complete(waiting: list[_Waiting[_W]], batch_size: int) -> Iterator[list[_Waiting[_W]]]:
    """Take off ``waiting`` each batch that is complete: of ``batch_size`` pieces, or with one of another shape behind it."""
    while waiting:
        _, pieces = next(groupby(waiting[:batch_size], key=lambda entry: entry[2].shape))
        batch = list(pieces)
        if len(batch) == len(waiting) < batch_size:
            return
        del waiting[: len(batch)]
        yield batch


def locate(name: str | os.PathLike[str], *, revision: str | None = None, allow_pickle: bool = False) -> Path:
    """The folder of a checkpoint: a path, the name of one that a plugin ships, or a hub id "owner/name"."""
    if not isinstance(name, str | os.PathLike):
        raise CheckpointNotFound(f"{name!r} is not the name of a checkpoint; name a folder, or a repository on the hub")
    text = os.fsdecode(name)
    if os.path.isdir(text):  # unlike Path.is_dir, no error for a name that is too long
        return Path(text)
    if registry().offers(text):
        return registry().checkpoint(text).folder
    if isinstance(name, Path) or text.count("/") != 1 or text.startswith((".", "/", "~")):
        shipped = ", ".join(registry().checkpoint_names()) or "none"
        raise CheckpointNotFound(
            f"{text}: no such folder, and no plugin ships a checkpoint of that name (shipped: {shipped}); name a folder with "
            "config.json, one of these, or a repository on the hub as owner/name"
        )
    return resolve(text, revision=revision, allow_pickle=allow_pickle)


def read_cut_rule(folder: Path) -> CutRule | None:
    """The rule in the checkpoint's vedcore.json, if there is one."""
    rule, path = own_settings(folder).get("cut"), folder / OWN_FILE
    if rule is None:
        return None
    known = {attribute.name for attribute in attrs.fields(CutRule)}
    if not isinstance(rule, dict) or not set(rule) <= known:
        raise ConfigError(f"{path}: cut must be an object with {', '.join(sorted(known))}, got {rule!r}")
    try:
        return CutRule(**rule)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _several(images: Any) -> Iterable[Any]:
    alone = (str, bytes, bytearray, memoryview, os.PathLike, np.ndarray, torch.Tensor)
    return [images] if isinstance(images, alone) or not isinstance(images, Iterable) else images
