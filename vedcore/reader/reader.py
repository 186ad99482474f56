"""The reader: images, one after the other or in batches, to readings."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from vedcore.errors import ConfigError, ImageError, TokenizerError
from vedcore.generation import Processor as LogitsProcessor
from vedcore.generation import StopRule
from vedcore.model import VisionEncoderDecoderModel
from vedcore.model.checks import listed_functions
from vedcore.reader.batches import LineQueue, WaitingLine, stack_pixels
from vedcore.reader.checkpoint_folder import locate
from vedcore.reader.jobs import FailedJob, ReadJob, StreamState
from vedcore.reader.layout import FindLines, Layout, cut_long_lines, read_cut_rule, whole_image
from vedcore.reader.processor import Processor
from vedcore.reader.prompts import Prompt, PromptEncoder, PromptIds, prompt_arguments, with_prompts
from vedcore.reader.reading import Fragment, Reading
from vedcore.reader.size_check import check_image_size
from vedcore.vision import CutRule, load_image


class Reader:
    """Reads images with one checkpoint."""

    def __init__(self, model: VisionEncoderDecoderModel, processor: Processor, cut_rule: CutRule | None = None) -> None:
        """Raises TokenizerError if the tokenizer has tokens outside the model's vocabulary."""
        largest, size = max(processor.tokenizer.get_vocab().values()), model.decoder.sizes.vocab_size
        if largest >= size:
            raise TokenizerError(
                f"the tokenizer has ids up to {largest}, but the decoder's vocabulary has {size} tokens, so the tokenizer "
                "belongs to another model; load both from one folder",
                expected=f"below {size}",
                found=largest,
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
        prepare: bool = True,
    ) -> Self:
        """The reader of a folder, of a checkpoint that a plugin ships, or of a hub id ("owner/name").

        prepare: call ``model.prepare()``, which makes reading faster; False for a model that will be trained.
        Raises CheckpointNotFound, or another VedcoreError that names the file at fault.
        """
        folder = locate(name, revision=revision, allow_pickle=allow_pickle)
        model = VisionEncoderDecoderModel.from_pretrained(folder, allow_pickle=allow_pickle, dtype=dtype, device=device)
        reader = cls(model, Processor.from_pretrained(folder), read_cut_rule(folder))
        if prepare:
            model.prepare()
        return reader

    def read(
        self,
        images: Any,
        *,
        batch_size: int = 16,
        cut: bool = True,
        prompt: Prompt | Sequence[Prompt] | None = None,
        logits_processor: Sequence[LogitsProcessor] | None = None,
        stopping_criteria: Sequence[StopRule] | None = None,
        **generation_fields: Any,
    ) -> list[Reading]:
        """N images -> N readings, in order. An image is a path, bytes, a PIL image, an array or a tensor.

        batch_size: how many lines the model reads at once. cut: cut long lines, if the checkpoint has a rule for it.
        prompt: the beginning of the text, which the model continues, as a text or as token ids: one for all images, or a list
        with one per image. Each piece of a cut line gets it. A reading contains only what comes after it. A text gets the
        start token before it unless it begins with a special token (``"<s_docvqa>..."``); ids are used as they are.
        logits_processor, stopping_criteria: functions, as for ``model.generate``; their rows are the lines of a batch.
        generation_fields: fields of GenerationConfig, such as ``num_beams=4``.
        Raises ImageError for the first image that cannot be read (``each`` continues after it), ConfigError, and for a prompt
        InputError or TokenizerError.
        """
        readings = []
        for reading in self.each(
            images,
            batch_size=batch_size,
            cut=cut,
            prompt=prompt,
            logits_processor=logits_processor,
            stopping_criteria=stopping_criteria,
            **generation_fields,
        ):
            if isinstance(reading, ImageError):
                raise reading
            readings.append(reading)
        return readings

    def each(
        self,
        images: Any,
        *,
        batch_size: int = 16,
        cut: bool = True,
        prompt: Prompt | Sequence[Prompt] | None = None,
        logits_processor: Sequence[LogitsProcessor] | None = None,
        stopping_criteria: Sequence[StopRule] | None = None,
        **generation_fields: Any,
    ) -> Iterator[Reading | ImageError]:
        """N images -> N results, in order, each as soon as it is available: a Reading, or the ImageError of that image.

        The arguments and the other errors are those of ``read``.
        """
        options = self._options(batch_size, logits_processor, stopping_criteria, generation_fields)
        prompts = self._prompts(prompt, generation_fields)
        find_lines = self._find_lines(cut)
        jobs: deque[ReadJob | FailedJob] = deque()
        queue: LineQueue[ReadJob] = LineQueue(batch_size)
        for source, own_prompt in with_prompts(_as_iterable(images), prompts):
            try:
                lines, layout = self._prepare(source, find_lines)
            except ImageError as error:
                jobs.append(FailedJob(error))
            else:
                job = ReadJob(source, layout, len(lines), own_prompt)
                jobs.append(job)
                queue.add(job, lines)
            for batch in queue.complete():
                self._read(batch, options)
            while jobs and jobs[0].finished:
                yield jobs.popleft().result()
        for batch in queue.rest():
            self._read(batch, options)
        while jobs:
            yield jobs.popleft().result()

    def stream(
        self,
        images: Any,
        *,
        batch_size: int = 16,
        cut: bool = True,
        prompt: Prompt | Sequence[Prompt] | None = None,
        logits_processor: Sequence[LogitsProcessor] | None = None,
        stopping_criteria: Sequence[StopRule] | None = None,
        **generation_fields: Any,
    ) -> Iterator[Fragment]:
        """The texts that ``read`` returns, in fragments, while the model generates them.

        The fragments of the images of one batch alternate. A fragment never contains part of a character, and the pieces
        of a cut line come in order. With ``num_beams`` above 1 a fragment appears when no later step can change it.
        The arguments and the errors are those of ``read``.
        """
        options = self._options(batch_size, logits_processor, stopping_criteria, generation_fields)
        prompts = self._prompts(prompt, generation_fields)
        find_lines = self._find_lines(cut)
        queue: LineQueue[StreamState] = LineQueue(batch_size)
        for index, (source, own_prompt) in enumerate(with_prompts(_as_iterable(images), prompts)):
            lines, layout = self._prepare(source, find_lines)
            state = StreamState(index, source, layout, len(lines), self.processor.tokenizer, own_prompt)
            queue.add(state, lines)
            for batch in queue.complete():
                yield from self._stream(batch, options)
        for batch in queue.rest():
            yield from self._stream(batch, options)

    def _options(
        self, batch_size: int, logits_processor: Any, stopping_criteria: Any, generation_fields: dict[str, Any]
    ) -> dict[str, Any]:
        """The arguments of ``generate`` and ``stream`` that all batches share, checked."""
        if not isinstance(batch_size, int | np.integer) or batch_size < 1:
            raise ConfigError(
                f"batch_size must be an int of at least 1, got {batch_size!r}",
                field="batch_size",
                expected="an int of at least 1",
                found=batch_size,
            )
        check_image_size(self.model.encoder, self.processor.image_processor)
        self.model.generation_config.with_fields(**generation_fields)
        returned = generation_fields.get("num_return_sequences")
        if returned not in (None, 1):
            raise ConfigError(
                "a reading is the best text of its image, so num_return_sequences must be 1; for several texts call "
                "model.generate",
                field="num_return_sequences",
                expected=1,
                found=returned,
            )
        functions = {"logits_processor": logits_processor, "stopping_criteria": stopping_criteria}
        listed = {name: listed_functions(given, name) for name, given in functions.items()}
        return {**generation_fields, **listed, "num_return_sequences": 1}

    def _prompts(self, prompt: Any, generation_fields: dict[str, Any]) -> list[PromptIds] | PromptIds | None:
        settings = self.model.generation_config.with_fields(**generation_fields)
        return PromptEncoder(self.model, self.processor.tokenizer, settings).encode_all(prompt)

    def _find_lines(self, cut: bool) -> FindLines:
        return cut_long_lines(self.cut_rule) if cut and self.cut_rule is not None else whole_image

    def _prepare(self, source: Any, find_lines: FindLines) -> tuple[list[NDArray[np.float32]], Layout]:
        """The processed pixels (3, h, w) of each line of an image, and the layout of the lines. Raises ImageError."""
        lines, layout = find_lines(load_image(source))
        process = self.processor.image_processor
        # Each line alone: their processed sizes may differ.
        return [process(line, return_tensors="np")["pixel_values"][0] for line in lines], layout

    def _read(self, batch: list[WaitingLine[ReadJob]], options: dict[str, Any]) -> None:
        prompts = prompt_arguments([line.job.prompt for line in batch], self.model.device)
        output = self.model.generate(
            stack_pixels(batch).to(self.model.device), **{**options, **prompts, "return_dict_in_generate": True}
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
        for line, ids, logprobs, length, confidence, stop_reason in rows:
            token_ids = tuple(ids[first:length])
            text = self.processor.tokenizer.decode(token_ids, skip_special_tokens=True)
            token_logprobs = tuple(logprobs[: len(token_ids)])
            reading = Reading(text, confidence, token_ids, token_logprobs, stop_reason, line.job.source)
            line.job.set_reading(line.position, reading)

    def _stream(self, batch: list[WaitingLine[StreamState]], options: dict[str, Any]) -> Iterator[Fragment]:
        prompts = prompt_arguments([line.job.prompt for line in batch], self.model.device)
        for new in self.model.stream(stack_pixels(batch).to(self.model.device), **options, **prompts):
            line = batch[new.row]
            if text := line.job.add(line.position, new):
                yield Fragment(line.job.index, line.job.source, text)


def _as_iterable(images: Any) -> Iterable[Any]:
    single = (str, bytes, bytearray, memoryview, os.PathLike, np.ndarray, torch.Tensor)
    return [images] if isinstance(images, single) or not isinstance(images, Iterable) else images
