"""A GenerationConfig and what the caller gives beside it, made into all that decoding needs.

Shapes: B images, P ids of the prompt.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vedcore.config import id_tuple
from vedcore.contract.protocols import Decoder
from vedcore.contract.types import Memory
from vedcore.errors import ConfigError, InputError, foreign
from vedcore.generation.config import GenerationConfig
from vedcore.generation.engine import Choose, Draw, Hypotheses, Standing, Watch, beam_search, best, choosable, drawable
from vedcore.generation.processors import Processor, checked, sampling_processors, score_processors
from vedcore.generation.rules import UNSEEN, MixedRules, Rules, StopRule

MAX_EXPONENT = 80.0
"""exp of it, and a little more, is a float32."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be written, checked: for ``generate`` or ``stream``, once, for the memory is spent.

    given: (B, P) the prompts as they are returned. prompt: the same, their padding UNSEEN.
    """

    decoder: Decoder
    memory: Memory
    settings: GenerationConfig
    given: Tensor
    prompt: Tensor
    rules: Rules | MixedRules
    choose: Choose

    @classmethod
    def of(
        cls,
        decoder: Decoder,
        memory: Memory,
        config: GenerationConfig,
        *,
        images: int,
        prompt: Tensor | None = None,
        prompt_mask: Tensor | None = None,
        custom: Sequence[Processor] = (),
        stops: Sequence[StopRule] = (),
        generator: torch.Generator | None = None,
        seed: int | None = None,
    ) -> Task:
        """The texts of ``images`` images whose keys and values are in ``memory``.

        prompt: (B, P) ids to begin with; None is the start token. prompt_mask: (B, P), 0 or False for padding: each row
        goes on as it would alone with the tokens that count, which stand last in the sequences, its padding before them.
        custom: processors of the caller, behind the config's. stops: criteria of the caller, that end a row. generator,
        seed: what sampling draws from.
        Raises ConfigError for settings that cannot be followed, InputError for a prompt that does not fit.
        """
        settings = config.resolved()
        for token in id_tuple(settings.eos_token_id):
            if token >= decoder.vocab_size:
                raise ConfigError(
                    f"eos_token_id is {token}, but the decoder's vocabulary has {decoder.vocab_size} tokens"
                )
        device = next(decoder.token_embedding.parameters()).device
        if prompt is None:
            if prompt_mask is not None:
                raise InputError("decoder_attention_mask is given without decoder_input_ids, whose padding it tells")
            given = _start(settings, images, decoder, device)
        else:
            given = _checked_prompt(prompt, images, decoder)
            if prompt_mask is None:
                _warn_of_padding(given, settings)
        given, lengths = (given, None) if prompt_mask is None else _padding_first(given, prompt_mask)
        rules: Rules | MixedRules
        if lengths is None:
            rules, prompt = _rules(settings, decoder, given.shape[1], custom, stops), given
        else:
            width = given.shape[1]
            of = {n: _rules(settings, decoder, n, custom, stops) for n in sorted(set(lengths.tolist()))}
            rules = MixedRules(of, width)
            padding = torch.arange(width, device=device) < width - lengths[:, None]
            prompt = given.masked_fill(padding, UNSEEN)
        choose = Draw(_source(generator, seed, device)) if settings.do_sample else best
        return cls(decoder, memory, settings, given, prompt, rules, choose)

    @property
    def beams(self) -> int:
        """How many beams an image has; 1 is no beam search."""
        return self.settings.num_beams or 1

    @property
    def returned(self) -> int:
        """How many texts of an image are returned."""
        return self.settings.num_return_sequences or 1

    @property
    def pad(self) -> int:
        """What fills a row behind its end."""
        return self.settings.pad_token_id if self.settings.pad_token_id is not None else 0

    def search(self, watch: Watch | None = None) -> Generator[Standing, None, Hypotheses]:
        """The beam search."""
        settings = self.settings
        return beam_search(
            self.decoder,
            self.memory,
            self.prompt,
            self.rules,
            self.choose,
            num_beams=self.beams,
            num_return=self.returned,
            pad=self.pad,
            length_penalty=1.0 if settings.length_penalty is None else settings.length_penalty,
            early_stopping=settings.early_stopping or False,
            watch=watch,
        )

    def rooms(self, prompt: Tensor) -> list[int]:
        """How many tokens may stand behind each of these prompts."""
        room = self.rules.room(prompt, prompt.shape[1])
        return [room] * len(prompt) if isinstance(room, int) else room.tolist()

    def reason(self, end: int, count: int, room: int) -> str:
        """Why a row ended behind ``count`` new tokens, of which ``end`` is the last."""
        if not count:
            return "none"
        if end in self.rules.eos:
            return "eos"
        return "length" if count >= room else "stopped"


def _rules(
    settings: GenerationConfig,
    decoder: Decoder,
    length: int,
    custom: Sequence[Processor],
    stops: Sequence[StopRule],
) -> Rules:
    """What rows with prompts of ``length`` tokens obey."""
    limit = decoder.max_positions
    if limit is not None and length > limit:
        raise InputError(
            f"the decoder prompt has {length} tokens, but the decoder has positions for {limit}: shorten the prompt"
        )
    max_length = settings.limit(length)
    if limit is not None:
        max_length = min(max_length, limit + 1)  # the last token is never fed
    if length >= max_length:
        raise InputError(
            f"the decoder prompt has {length} tokens and the length limit is {max_length}: nothing can follow; "
            "raise max_new_tokens or max_length, or shorten the prompt"
        )
    about = {"prompt_length": length, "max_length": max_length, "vocab_size": decoder.vocab_size}
    callers = map(checked, custom)
    processors = (*score_processors(settings, **about), *callers, *sampling_processors(settings))
    if settings.do_sample:
        processors += (drawable,)
    elif processors and settings.num_beams in (None, 1):  # a beam search looks at all beams of an image together
        processors += (choosable,)
    if settings.num_beams not in (None, 1):
        _check_penalty(settings.length_penalty or 0.0, max_length)
    return Rules(frozenset(id_tuple(settings.eos_token_id)), max_length, processors, tuple(stops))


def _check_penalty(penalty: float, longest: int) -> None:
    """ConfigError where the number of tokens to the power of ``length_penalty`` is none that scores can be divided by."""
    if abs(penalty) * math.log(longest) > MAX_EXPONENT:
        raise ConfigError(
            f"length_penalty is {penalty}, and a score is divided by the number of its tokens, here up to {longest}, to that "
            "power, which no float holds; take one nearer to 1"
        )


def _start(settings: GenerationConfig, images: int, decoder: Decoder, device: torch.device) -> Tensor:
    """(B, 1): the start token."""
    start = settings.decoder_start_token_id
    start = settings.bos_token_id if start is None else start
    if start is None:
        raise ConfigError(
            "neither decoder_start_token_id nor bos_token_id is set, so there is nothing to begin with: set "
            "model.config.decoder_start_token_id to the tokenizer's bos or cls token id"
        )
    if start >= decoder.vocab_size:
        raise ConfigError(
            f"decoder_start_token_id is {start}, but the decoder's vocabulary has {decoder.vocab_size} tokens"
        )
    return torch.full((images, 1), start, dtype=torch.long, device=device)


def _checked_prompt(prompt: Tensor, images: int, decoder: Decoder) -> Tensor:
    if prompt.dim() != 2 or prompt.shape[0] != images or not prompt.shape[1]:
        raise InputError(
            f"decoder_input_ids must have shape ({images}, tokens), a row an image, got {tuple(prompt.shape)}"
        )
    if prompt.dtype not in (torch.long, torch.int):
        raise InputError(f"decoder_input_ids must be token ids of type torch.long, got {prompt.dtype}")
    if int(prompt.min()) < 0 or int(prompt.max()) >= decoder.vocab_size:
        raise InputError(
            f"decoder_input_ids run from {int(prompt.min())} to {int(prompt.max())}, but the decoder's vocabulary has "
            f"{decoder.vocab_size} tokens (ids 0 to {decoder.vocab_size - 1}): is the tokenizer the decoder's?"
        )
    return prompt.long()


def _warn_of_padding(prompt: Tensor, settings: GenerationConfig) -> None:
    """A prompt that was padded is continued behind its padding, as if it were text."""
    pad = settings.pad_token_id
    others = (settings.decoder_start_token_id, settings.bos_token_id, *id_tuple(settings.eos_token_id))
    if pad is not None and pad not in others and bool((prompt[:, [0, -1]] == pad).any()):
        warnings.warn(
            f"decoder_input_ids begin or end with the padding id {pad}, and there is no decoder_attention_mask, so padding is "
            "read as text; pass decoder_attention_mask=decoder_input_ids != pad_token_id",
            stacklevel=5,
        )


def _padding_first(prompt: Tensor, mask: Tensor) -> tuple[Tensor, Tensor | None]:
    """(B, P) ids with each row's padding before its tokens, and (B,) how many these are; None where nothing is padding."""
    if mask.shape != prompt.shape:
        raise InputError(
            f"decoder_attention_mask must have the shape of decoder_input_ids, {tuple(prompt.shape)}, "
            f"got {tuple(mask.shape)}"
        )
    mask = mask.bool()
    lengths = mask.sum(dim=1)
    if not bool(lengths.all()):
        empty = (lengths == 0).nonzero().flatten().tolist()
        raise InputError(
            f"decoder_attention_mask leaves no token in row {', '.join(map(str, empty))} of {len(mask)}: each row needs one "
            "at least, such as the start token"
        )
    if bool(mask.all()):
        return prompt, None
    return prompt.gather(1, mask.long().argsort(dim=1, stable=True)), lengths


def _source(generator: torch.Generator | None, seed: int | None, device: torch.device) -> torch.Generator | None:
    """What sampling draws from; None is torch's own state."""
    if generator is not None and seed is not None:
        raise ConfigError(f"seed={seed} and a generator are both given, and each says what to draw: leave one out")
    if generator is not None and not hasattr(generator, "device"):
        raise ConfigError(f"generator must be a torch.Generator, got {generator!r}")
    if generator is not None and generator.device.type != device.type:
        raise InputError(
            f"the generator is on {generator.device}, the model on {device}: make it with "
            f"torch.Generator({str(device)!r})"
        )
    if seed is None:
        return generator
    source = torch.Generator(device)
    with foreign(ConfigError, f"seed must be an int from {-(2**63)} to {2**64 - 1}, got {seed!r}"):
        return source.manual_seed(seed)
