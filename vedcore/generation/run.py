"""``generate``: a GenerationConfig made into rules and a strategy, and its outcome put into words.

Shapes: B images, R rows (B times what is returned an image), T ids with the prompt, N new tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vedcore.errors import ConfigError, InputError
from vedcore.generation.config import GenerationConfig
from vedcore.generation.engine import Draw, Hypotheses, Rules, beam_search, best, collect, decode, drawable
from vedcore.generation.processors import Processor, sampling_processors, score_processors
from vedcore.protocols import Decoder
from vedcore.types import Memory


@dataclass(frozen=True, slots=True)
class GenerationOutput:
    """What decoding made of the images.

    sequences: (R, T) ids, the start token first, padded. sequences_scores: (R,) of a beam search, else None.
    token_logprobs: (R, N) log-probability of each new token under the unprocessed scores, 0 behind a row's end.
    lengths: (R,) ids of each row without its padding. stop_reasons: for each row "eos" or "length".
    """

    sequences: Tensor
    sequences_scores: Tensor | None
    token_logprobs: Tensor
    lengths: Tensor
    stop_reasons: tuple[str, ...]

    @property
    def confidences(self) -> Tensor:
        """(R,): the exponential of the mean log-probability of a row's new tokens, its end token included."""
        count = self.lengths - (self.sequences.shape[1] - self.token_logprobs.shape[1])
        return (self.token_logprobs.sum(dim=1) / count.clamp(min=1)).exp()

    def __getitem__(self, name: str) -> Any:
        """A field by its name."""
        return getattr(self, name)


@torch.inference_mode()
def generate(
    decoder: Decoder,
    memory: Memory,
    config: GenerationConfig,
    *,
    images: int,
    prompt: Tensor | None = None,
    custom: Sequence[Processor] = (),
    generator: torch.Generator | None = None,
) -> GenerationOutput:
    """Decode ``images`` images whose keys and values are in ``memory``.

    prompt: (B, P) ids to begin with; None is the start token. custom: processors of the caller, behind the config's.
    Raises ConfigError for settings that cannot be followed, InputError for a prompt that does not fit.
    """
    settings = config.resolved()
    prompt = _prompt(settings, prompt, images, decoder)
    eos = settings.eos_token_id
    ends = () if eos is None else eos if isinstance(eos, tuple) else (eos,)
    for token in ends:
        if token >= decoder.vocab_size:
            raise ConfigError(f"eos_token_id is {token}, but the decoder's vocabulary has {decoder.vocab_size} tokens")
    pad = settings.pad_token_id if settings.pad_token_id is not None else 0
    length = prompt.shape[1]
    max_length = settings.limit(length)
    if decoder.max_positions is not None:
        max_length = min(max_length, decoder.max_positions + 1)  # the last token is never fed
    if length >= max_length:
        raise InputError(
            f"the decoder prompt has {length} tokens and the length limit is {max_length}: nothing can follow; "
            "raise max_new_tokens or max_length, or shorten the prompt"
        )
    scored = score_processors(settings, prompt_length=length, max_length=max_length, vocab_size=decoder.vocab_size)
    sampled = sampling_processors(settings, prompt_length=length, max_length=max_length, vocab_size=decoder.vocab_size)
    checked = (drawable,) if settings.do_sample else ()
    rules = Rules(frozenset(ends), max_length, (*scored, *custom, *sampled, *checked))
    choose = Draw(generator) if settings.do_sample else best
    returned = settings.num_return_sequences or 1
    if (settings.num_beams or 1) > 1:
        found = beam_search(
            decoder,
            memory,
            prompt,
            rules,
            choose,
            num_beams=settings.num_beams or 1,
            num_return=returned,
            pad=pad,
            length_penalty=1.0 if settings.length_penalty is None else settings.length_penalty,
            early_stopping=settings.early_stopping or False,
        )
    else:
        prompt = prompt.repeat_interleave(returned, dim=0)
        found = collect(decode(decoder, memory, prompt, rules, choose), prompt, pad)
    return _output(found, length, ends)


def _prompt(settings: GenerationConfig, prompt: Tensor | None, images: int, decoder: Decoder) -> Tensor:
    start = settings.decoder_start_token_id
    start = settings.bos_token_id if start is None else start
    if prompt is None:
        if start is None:
            raise ConfigError(
                "neither decoder_start_token_id nor bos_token_id is set, so there is nothing to begin with: set "
                "model.config.decoder_start_token_id to the tokenizer's bos or cls token id"
            )
        if start >= decoder.vocab_size:
            raise ConfigError(
                f"decoder_start_token_id is {start}, but the decoder's vocabulary has {decoder.vocab_size} tokens"
            )
        device = next(decoder.token_embedding.parameters()).device
        return torch.full((images, 1), start, dtype=torch.long, device=device)
    if prompt.dim() != 2 or prompt.shape[0] != images or not prompt.shape[1]:
        raise InputError(
            f"decoder_input_ids must have shape ({images}, tokens), a row an image, got {tuple(prompt.shape)}"
        )
    if int(prompt.min()) < 0 or int(prompt.max()) >= decoder.vocab_size:
        raise InputError(
            f"decoder_input_ids run from {int(prompt.min())} to {int(prompt.max())}, but the decoder's vocabulary has "
            f"{decoder.vocab_size} tokens"
        )
    return prompt


def _output(found: Hypotheses, prompt_length: int, ends: tuple[int, ...]) -> GenerationOutput:
    last = found.ids.gather(1, found.lengths[:, None] - 1)[:, 0].tolist()
    reasons = tuple("eos" if token in ends else "length" for token in last)
    return GenerationOutput(found.ids, found.scores, found.logprobs, found.lengths, reasons)
