"""Decoder prompts: tokens that the text of an image begins with, which the model continues.

P tokens of a prompt, the start token included.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from itertools import repeat, zip_longest
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vedcore.errors import ConfigError, InputError, TokenizerError
from vedcore.generation import GenerationConfig, length_limit
from vedcore.model import VisionEncoderDecoderModel
from vedcore.model.checks import kind_of
from vedcore.text import Tokenizer, is_skipped
from vedcore.text.ids import Ids, as_id_list

Prompt = str | Ids
"""The prompt of one image, or of all: a text, or P ids."""

PromptIds = tuple[int, ...]
"""P ids of the decoder's vocabulary."""


@dataclass(frozen=True, slots=True)
class PromptEncoder:
    """Encodes prompts for a model. settings: those of the call, which limit the length."""

    model: VisionEncoderDecoderModel
    tokenizer: Tokenizer
    settings: GenerationConfig

    def encode_all(self, prompt: Prompt | Sequence[Prompt] | None) -> list[PromptIds] | PromptIds | None:
        """The ids of one prompt for all images, a list with those of each image, or None without a prompt.

        Raises InputError for a value that is no prompt, an empty one or one that is too long; TokenizerError for ids outside
        the vocabulary and for text that the tokenizer does not know; ConfigError for a text if the model has no start token.
        """
        if prompt is None:
            return None
        if _has_one_per_image(prompt):
            return [self.encode(one, f"prompt[{index}]") for index, one in enumerate(prompt)]  # type: ignore[arg-type]
        return self.encode(prompt, "prompt")

    def encode(self, prompt: Any, name: str) -> PromptIds:
        """The ids of one prompt; ``name`` is its name in messages. Raises as ``encode_all``."""
        if not isinstance(prompt, str | list | tuple | Tensor | np.ndarray):
            raise InputError(
                f"{name} must be a text or token ids, and a list of them has one per image; got {kind_of(prompt)}",
                field="prompt",
                expected="a text or token ids",
                found=kind_of(prompt),
            )
        bound = self.model.decoder.sizes.vocab_size
        try:
            ids = self._encode_text(prompt, name) if isinstance(prompt, str) else as_id_list(prompt, bound, bound)
        except TokenizerError as error:
            found: Any = prompt if error.found is None else error.found
            raise TokenizerError(
                f"{name}: {error}", file=error.file, field="prompt", expected=error.expected, found=found
            ) from error
        if not ids:
            raise InputError(
                f"{name} is empty: it has no tokens; leave it out, and the text begins with the start token alone",
                field="prompt",
                expected="at least one token",
                found=prompt,
            )
        length_limit(self.settings, self.model.decoder, len(ids), field="prompt")
        return tuple(ids)

    def _encode_text(self, text: str, name: str) -> list[int]:
        """The ids of a text, with the start token before it unless it begins with a special token, and no end token."""
        ids = self.tokenizer.encode(text, add_special_tokens=False)
        if not ids or self._begins_with_special_token(text, ids[0]):
            return ids
        if set(ids) == {self.tokenizer.unk_token_id}:
            raise TokenizerError(f"the tokenizer knows no part of {text[:60]!r}", found=text)
        start = self._start_token()
        if start is None:
            raise ConfigError(
                f"{name} is a text without a start token, and neither decoder_start_token_id nor bos_token_id is set: set "
                "model.config.decoder_start_token_id, or begin the prompt with a special token",
                field="decoder_start_token_id",
            )
        return ids if ids[0] == start else [start, *ids]

    def _begins_with_special_token(self, text: str, first: int) -> bool:
        """Whether the text itself begins with a special token, such as the task token of a Donut prompt.

        The unknown token also is special, but it stands for other text.
        """
        return is_skipped(self.tokenizer, first) and text.startswith(self.tokenizer.convert_ids_to_tokens(first))

    def _start_token(self) -> int | None:
        """The token that generation begins with if there is no prompt."""
        sources = (self.settings, self.model.config)
        names = ("decoder_start_token_id", "bos_token_id")
        tokens = (getattr(source, name) for name in names for source in sources)
        return next((token for token in tokens if token is not None), None)


def with_prompts(
    images: Iterable[Any], prompts: list[PromptIds] | PromptIds | None
) -> Iterator[tuple[Any, PromptIds | None]]:
    """Each image with its prompt. Raises InputError if the prompts are a list and the images are more or fewer.

    The error comes before the first image if the images have a length, else where one of the two ends.
    """
    if not isinstance(prompts, list):
        yield from zip(images, repeat(prompts))
        return
    if isinstance(images, Sized) and len(images) != len(prompts):
        raise _wrong_number(len(prompts), f"{len(images)} images")
    missing: Any = object()
    for index, (image, prompt) in enumerate(zip_longest(images, prompts, fillvalue=missing)):
        if image is missing or prompt is missing:
            raise _wrong_number(len(prompts), f"{index} images" if image is missing else "more images")
        yield image, prompt


def prompt_arguments(prompts: Sequence[PromptIds | None], device: torch.device) -> dict[str, Tensor]:
    """The arguments of ``generate`` for the prompts of a batch: (B, P) ids, and their mask if their lengths differ."""
    given = [prompt for prompt in prompts if prompt is not None]
    if not given:
        return {}
    width = max(map(len, given))
    ids = [[*prompt, *[0] * (width - len(prompt))] for prompt in given]
    arguments = {"decoder_input_ids": torch.tensor(ids, device=device)}
    if min(map(len, given)) < width:
        mask = [[1] * len(prompt) + [0] * (width - len(prompt)) for prompt in given]
        arguments["decoder_attention_mask"] = torch.tensor(mask, device=device)
    return arguments


def _has_one_per_image(prompt: Any) -> bool:
    if isinstance(prompt, Tensor | np.ndarray):
        return prompt.ndim > 1
    if not isinstance(prompt, list | tuple):
        return False
    return not prompt or isinstance(prompt[0], str | list | tuple) or getattr(prompt[0], "ndim", 0) > 0


def _wrong_number(prompts: int, images: str) -> InputError:
    return InputError(
        f"{prompts} prompts for {images}: pass one prompt for all images, or a list with one per image",
        field="prompt",
        expected=images,
        found=f"{prompts} prompts",
    )
