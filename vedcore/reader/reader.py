"""The reader: images, one after the other or in batches, to readings."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from vedcore.contract.protocols import PageSegmenter
from vedcore.documents import Page, open_pages
from vedcore.errors import ConfigError, ImageError, TokenizerError
from vedcore.generation import Processor as LogitsProcessor
from vedcore.generation import StopRule
from vedcore.model import VisionEncoderDecoderModel
from vedcore.model.checks import listed_functions
from vedcore.reader.batches import RowQueue, WaitingRow, stack_pixels
from vedcore.reader.calibration import Calibration, calibration_for, with_probability
from vedcore.reader.checkpoint_folder import locate
from vedcore.reader.finding import FoundRows, RowFinder
from vedcore.reader.jobs import FailedJob, ReadJob, StreamState
from vedcore.reader.layout import OpenedImage, RowText
from vedcore.reader.layout_choice import (
    LayoutName,
    check_layout,
    check_segmenter,
    preferred_segmenter,
    read_cut_rule,
    read_layout,
    row_finder,
)
from vedcore.reader.processor import Processor
from vedcore.reader.prompts import Prompt, PromptEncoder, PromptIds, prompt_arguments, with_prompts
from vedcore.reader.reading import Fragment, Reading
from vedcore.reader.size_check import check_image_size
from vedcore.speed.threads import set_threads
from vedcore.storage.own import has_weights
from vedcore.vision import CutRule, image_dpi, load_image


class Reader:
    """Reads images with one checkpoint."""

    def __init__(
        self,
        model: VisionEncoderDecoderModel,
        processor: Processor,
        cut_rule: CutRule | None = None,
        layout: LayoutName | None = None,
        segmenter: PageSegmenter | str | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        """layout: how images are read by default; None: "line" with a cut rule, "whole" without. segmenter: as in ``load``.

        calibration: gives readings a probability.
        Raises TokenizerError if the tokenizer has tokens outside the model's vocabulary.
        """
        largest, size = max(processor.tokenizer.get_vocab().values()), model.decoder.sizes.vocab_size
        if largest >= size:
            raise TokenizerError(
                f"the tokenizer has ids up to {largest}, but the decoder's vocabulary has {size} tokens, so the tokenizer "
                "belongs to another model; load both from one folder",
                expected=f"below {size}",
                found=largest,
            )
        self.model, self.processor, self.cut_rule, self.calibration = model, processor, cut_rule, calibration
        self.segmenter = check_segmenter(segmenter)
        self.layout = None if layout is None else check_layout(layout)

    @classmethod
    def load(
        cls,
        name: str | os.PathLike[str],
        *,
        revision: str | None = None,
        allow_pickle: bool = False,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        prepare: bool = True,
        layout: LayoutName | None = None,
        segmenter: PageSegmenter | str | None = None,
        threads: int | None = None,
    ) -> Self:
        """The reader of a folder, of a checkpoint that a plugin ships, or of a hub id ("owner/name").

        prepare: call ``model.prepare()``, which makes reading faster; False for a model that will be trained.
        layout: how images are read unless ``read`` gets another; None: as the checkpoint's vedcore.json says.
        segmenter: finds the lines of a page: a function, a ``Segmenter``, the name of an installed one, or None for the one
        that the checkpoint prefers, or the only one.
        threads: how many threads torch computes with, from now on and in the whole process, because torch has one number for
        all; None: that number is not changed. One is fastest for a small model on a busy machine.
        Raises CheckpointNotFound, or another VedcoreError that names the file or the argument at fault.
        """
        if threads is not None:
            set_threads(threads)
        folder = locate(name, revision=revision, allow_pickle=allow_pickle)
        model = VisionEncoderDecoderModel.from_pretrained(folder, allow_pickle=allow_pickle, dtype=dtype, device=device)
        layout = read_layout(folder) if layout is None else layout
        segmenter = preferred_segmenter(folder) if segmenter is None else segmenter
        calibration = calibration_for(model.parameters(), folder)
        reader = cls(model, Processor.from_pretrained(folder), read_cut_rule(folder), layout, segmenter, calibration)
        if prepare:
            model.prepare()
        return reader

    def read(
        self,
        images: Any,
        *,
        batch_size: int = 16,
        layout: LayoutName | None = None,
        cut: bool = True,
        prompt: Prompt | Sequence[Prompt] | None = None,
        logits_processor: Sequence[LogitsProcessor] | None = None,
        stopping_criteria: Sequence[StopRule] | None = None,
        **generation_fields: Any,
    ) -> list[Reading]:
        """N images -> N readings, in order. An image is a path, bytes, a PIL image, an array, a tensor or a ``Page``.

        batch_size: how many lines the model reads at once; those of all images share batches.
        layout: "auto" (each image is a line or a page, whichever it looks like), "page", "line" (cut if it is long) or
        "whole"; None: the layout of the reader. cut: False is the same as layout="whole".
        prompt: the beginning of the text, which the model continues, as a text or as token ids: one for all images, or a list
        with one per image. Each line, and each piece of a cut one, gets it. A reading contains only what comes after it. A
        text gets the start token first unless it begins with a special token (``"<s_docvqa>..."``); ids are used as they are.
        logits_processor, stopping_criteria: functions, as for ``model.generate``; their rows are the lines of a batch.
        generation_fields: fields of GenerationConfig, such as ``num_beams=4``.
        Raises ImageError for the first image that cannot be read (``each`` continues after it), ConfigError, PluginError if a
        page has no segmenter, and for a prompt InputError or TokenizerError.
        """
        results = self.each(
            images,
            batch_size=batch_size,
            layout=layout,
            cut=cut,
            prompt=prompt,
            logits_processor=logits_processor,
            stopping_criteria=stopping_criteria,
            **generation_fields,
        )
        return list(_without_errors(results))

    def read_document(self, source: str | os.PathLike[str] | bytes, **options: Any) -> Iterator[Reading]:
        """The pages of a PDF, a TIFF or another image -> one reading per page, each with ``page``, ``size`` and ``dpi``.

        options: the arguments of ``read``. A PDF is rendered at 300 dpi and needs the extra ``vedcore[pdf]``.
        Raises ImageError for a document or a page that cannot be read. To read the other pages of a damaged document, call
        ``each(open_pages(source))``. Raises also as ``read`` does.
        """
        with open_pages(source) as pages:
            for reading in _without_errors(self.each(pages, **options)):
                yield replace(reading, source=source)

    def each(self, images: Any, **options: Any) -> Iterator[Reading | ImageError]:
        """N images -> N results, in order, each as soon as it is available: a Reading, or the ImageError of that image.

        The options and the other errors are those of ``read``.
        """
        request = self._request(**options)
        jobs: deque[ReadJob | FailedJob] = deque()
        queue: RowQueue[ReadJob] = RowQueue(request.batch_size)
        for source, prompt in with_prompts(_as_iterable(images), request.prompts):
            try:
                image, found = self._open(source, request)
                rows = self._process(found)
            except ImageError as error:
                jobs.append(FailedJob(error))
            else:
                job = ReadJob(image, found.layout, len(rows), prompt)
                jobs.append(job)
                queue.add(job, rows)
            for batch in queue.complete():
                self._read(batch, request.arguments)
            while jobs and jobs[0].finished:
                yield self._result(jobs.popleft())
        for batch in queue.rest():
            self._read(batch, request.arguments)
        while jobs:
            yield self._result(jobs.popleft())

    def rows(self, image: Any, *, layout: LayoutName | None = None, cut: bool = True) -> list[Any]:
        """The pictures that the model reads for an image, RGB: the whole image, its lines, or the pieces of long lines.

        The arguments and the errors are those of ``read``.
        """
        found = self._finder(layout, cut)(load_image(image))
        return [load_image(row) for row in found.images]

    def stream(self, images: Any, **options: Any) -> Iterator[Fragment]:
        """The texts that ``read`` returns, in fragments, while the model generates them.

        The fragments of the images of one batch alternate. A fragment never contains part of a character, and lines and the
        pieces of a cut line come in order. With ``num_beams`` above 1, and where pieces of a word overlap, a fragment appears
        when nothing that follows can change it.
        The options and the errors are those of ``read``.
        """
        request = self._request(**options)
        queue: RowQueue[StreamState] = RowQueue(request.batch_size)
        for index, (source, prompt) in enumerate(with_prompts(_as_iterable(images), request.prompts)):
            image, found = self._open(source, request)
            rows = self._process(found)
            state = StreamState(index, image, found.layout, len(rows), self.processor.tokenizer, prompt)
            queue.add(state, rows)
            for batch in queue.complete():
                yield from self._stream(batch, request.arguments)
        for batch in queue.rest():
            yield from self._stream(batch, request.arguments)

    def drop_stale_calibration(self) -> None:
        """Forget the calibration if the weights are no longer those that it was fitted with, as after training."""
        if self.calibration is not None and not has_weights(self.model.parameters(), self.calibration.weights):
            self.calibration = None

    def _request(
        self,
        *,
        batch_size: int = 16,
        layout: LayoutName | None = None,
        cut: bool = True,
        prompt: Prompt | Sequence[Prompt] | None = None,
        logits_processor: Sequence[LogitsProcessor] | None = None,
        stopping_criteria: Sequence[StopRule] | None = None,
        **generation_fields: Any,
    ) -> _Request:
        """The arguments of ``read``, checked."""
        if not isinstance(batch_size, int | np.integer) or batch_size < 1:
            raise ConfigError(
                f"batch_size must be an int of at least 1, got {batch_size!r}",
                field="batch_size",
                expected="an int of at least 1",
                found=batch_size,
            )
        check_image_size(self.model.encoder, self.processor.image_processor)
        settings = self.model.generation_config.with_fields(**generation_fields)
        returned = generation_fields.get("num_return_sequences")
        if returned not in (None, 1):
            raise ConfigError(
                "a reading is the best text of its image, so num_return_sequences must be 1; for several texts call "
                "model.generate",
                field="num_return_sequences",
                expected=1,
                found=returned,
            )
        prompts = PromptEncoder(self.model, self.processor.tokenizer, settings).encode_all(prompt)
        functions = {"logits_processor": logits_processor, "stopping_criteria": stopping_criteria}
        listed = {name: listed_functions(given, name) for name, given in functions.items()}
        arguments = {**generation_fields, **listed, "num_return_sequences": 1}
        return _Request(batch_size, self._finder(layout, cut), prompts, arguments)

    def _finder(self, layout: LayoutName | None, cut: bool) -> RowFinder:
        default = self.layout or ("whole" if self.cut_rule is None else "line")
        chosen = default if layout is None else check_layout(layout)
        if not cut and layout not in (None, "whole"):
            raise ConfigError(
                f'cut=False is the same as layout="whole", but layout is {layout!r}; leave one of them out',
                field="cut",
                expected=True,
                found=False,
            )
        return row_finder(chosen if cut else "whole", self.cut_rule, self.segmenter, reads_lines=default != "whole")

    def _open(self, source: Any, request: _Request) -> tuple[OpenedImage, FoundRows]:
        """An image and its rows. Raises ImageError."""
        page = source if isinstance(source, Page) else None
        image = load_image(source) if page is None else page.load()
        found = request.find_rows(image)
        number = None if page is None else page.number
        return OpenedImage(source, image.size, image_dpi(image), number, found.warnings), found

    def _process(self, found: FoundRows) -> list[NDArray[np.float32]]:
        """The processed pixels (3, h, w) of each row. Raises ImageError."""
        process = self.processor.image_processor
        # Each row alone: their processed sizes may differ.
        return [process(image, return_tensors="np")["pixel_values"][0] for image in found.images]

    def _read(self, batch: list[WaitingRow[ReadJob]], arguments: dict[str, Any]) -> None:
        prompts = prompt_arguments([row.job.prompt for row in batch], self.model.device)
        output = self.model.generate(
            stack_pixels(batch).to(self.model.device), **{**arguments, **prompts, "return_dict_in_generate": True}
        )
        first = output.sequences.shape[1] - output.token_logprobs.shape[1]
        rows = zip(
            batch,
            output.sequences.tolist(),
            output.token_logprobs.tolist(),
            output.lengths.tolist(),
            output.confidences.tolist(),
            output.stop_reasons,
            strict=True,
        )
        for row, ids, logprobs, length, confidence, stop_reason in rows:
            token_ids = tuple(ids[first:length])
            text = self.processor.tokenizer.decode(token_ids, skip_special_tokens=True)
            token_logprobs = tuple(logprobs[: len(token_ids)])
            row.job.set_text(row.position, RowText(text, confidence, token_ids, token_logprobs, stop_reason))

    def _result(self, job: ReadJob | FailedJob) -> Reading | ImageError:
        result = job.result()
        return with_probability(result, self.calibration) if isinstance(result, Reading) else result

    def _stream(self, batch: list[WaitingRow[StreamState]], arguments: dict[str, Any]) -> Iterator[Fragment]:
        prompts = prompt_arguments([row.job.prompt for row in batch], self.model.device)
        for new in self.model.stream(stack_pixels(batch).to(self.model.device), **arguments, **prompts):
            row = batch[new.row]
            if text := row.job.add(row.position, new):
                yield Fragment(row.job.index, row.job.source, text)


@dataclass(frozen=True, slots=True)
class _Request:
    """The checked arguments of a call. arguments: those of ``generate`` and ``stream`` that all batches share."""

    batch_size: int
    find_rows: RowFinder
    prompts: list[PromptIds] | PromptIds | None
    arguments: dict[str, Any]


def _without_errors(results: Iterable[Reading | ImageError]) -> Iterator[Reading]:
    """The readings. Raises the first error."""
    for result in results:
        if isinstance(result, ImageError):
            raise result
        yield result


def _as_iterable(images: Any) -> Iterable[Any]:
    single = (str, bytes, bytearray, memoryview, os.PathLike, np.ndarray, torch.Tensor, Page)
    return [images] if isinstance(images, single) or not isinstance(images, Iterable) else images
