"""A request: a GenerationConfig and the arguments of a call, checked and turned into a session.

Shapes: B images, P ids of the prompt.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vedcore.config import id_tuple
from vedcore.contract.protocols import Decoder
from vedcore.contract.types import Memory
from vedcore.contract.types import Recorder as TraceRecorder
from vedcore.errors import ConfigError, InputError, foreign
from vedcore.generation.beams import BeamSearch
from vedcore.generation.config import GenerationConfig
from vedcore.generation.loop import Loop, TorchLoop
from vedcore.generation.one_text import OneText
from vedcore.generation.processors import Processor, sampling_processors, score_processors, with_checked_result
from vedcore.generation.rules import Rules, StopRule
from vedcore.generation.session import Session
from vedcore.generation.strategy import Draw, Recorder, Select, best, choosable, drawable

MAX_EXPONENT = 80.0
"""exp(MAX_EXPONENT), and a little more, is a float32."""


@dataclass(frozen=True, slots=True)
class Group:
    """The images whose prompts have the same length: their numbers, their prompts (B', P'), and the rules of their rows."""

    images: list[int]
    prompt: Tensor
    rules: Rules


@dataclass(frozen=True, slots=True)
class Request:
    """What ``generate`` or ``stream`` has to do. It can be done once, because the memory is used up.

    given: (B, P) the prompts as they are returned, padding first.
    """

    loop: Loop
    memory: Memory
    settings: GenerationConfig
    given: Tensor
    groups: tuple[Group, ...]
    select: Select
    encoder_trace: TraceRecorder | None = None

    @classmethod
    def of(
        cls,
        decoder: Decoder,
        memory: Memory,
        config: GenerationConfig,
        *,
        prompt: Tensor | None = None,
        prompt_mask: Tensor | None = None,
        custom: Sequence[Processor] = (),
        stops: Sequence[StopRule] = (),
        generator: torch.Generator | None = None,
        seed: int | None = None,
        encoder_trace: TraceRecorder | None = None,
    ) -> Request:
        """The texts of the images in ``memory``.

        prompt: (B, P) ids of the vocabulary; None is the start token. prompt_mask: (B, P), 0 or False for padding: each row
        is continued as it would be alone; in the output its padding comes first. custom: processors of the caller, applied
        after those of the config. stops: criteria of the caller that end a row. generator, seed: what sampling draws from.
        encoder_trace: what the encoder recorded, for the output.
        Raises ConfigError for settings that cannot be followed, InputError for a prompt that does not fit.
        """
        settings = config.resolved()
        vocabulary = decoder.sizes.vocab_size
        for token in id_tuple(settings.eos_token_id):
            _check_token("eos_token_id", token, vocabulary)
        loop = TorchLoop(decoder)
        if prompt is None:
            if prompt_mask is not None:
                raise InputError(
                    "decoder_attention_mask is given without decoder_input_ids, whose padding it marks",
                    field="decoder_attention_mask",
                )
            given = _start(settings, memory.images, vocabulary, loop.device)
        else:
            given = prompt.long()
            if prompt_mask is None:
                _warn_of_padding(given, settings)
        given, lengths = (given, None) if prompt_mask is None else _padding_first(given, prompt_mask)
        width = given.shape[1]
        each = [width] * len(given) if lengths is None else lengths.tolist()
        groups = []
        for length in sorted(set(each)):
            numbers = [number for number, own in enumerate(each) if own == length]
            rules = _rules(settings, decoder, length, custom, stops)
            groups.append(Group(numbers, given[numbers, width - length :] if lengths is not None else given, rules))
        select = Draw(_source(generator, seed, loop.device)) if settings.do_sample else best
        return cls(loop, memory, settings, given, tuple(groups), select, encoder_trace)

    @property
    def beams(self) -> int:
        """The beams of an image; 1 means no beam search."""
        return self.settings.num_beams or 1

    @property
    def returned(self) -> int:
        """The number of texts per image."""
        return self.settings.num_return_sequences or 1

    @property
    def pad(self) -> int:
        """The id that fills a row after its end."""
        return self.settings.pad_token_id if self.settings.pad_token_id is not None else 0

    def strategies(self) -> Iterator[BeamSearch | OneText]:
        """The strategy of each group."""
        settings, returned = self.settings, self.returned
        for group in self.groups:
            if self.beams > 1:
                yield BeamSearch(
                    group.prompt,
                    group.rules,
                    self.select,
                    num_beams=self.beams,
                    num_return=returned,
                    length_penalty=1.0 if settings.length_penalty is None else settings.length_penalty,
                    early_stopping=settings.early_stopping or False,
                    places=group.images,
                )
            else:
                places = [number * returned + text for number in group.images for text in range(returned)]
                yield OneText(group.prompt.repeat_interleave(returned, dim=0), group.rules, self.select, places)

    def session(self, strategies: Sequence[BeamSearch | OneText], recorder: Recorder | None = None) -> Session:
        """A session with all rows."""
        session = Session(self.loop, recorder=recorder, use_cache=self.settings.use_cache is not False)
        for group, strategy in zip(self.groups, strategies, strict=True):
            memory = self.memory
            if len(self.groups) > 1:
                numbers = self.given.new_tensor(group.images)
                layers = tuple((keys[numbers], values[numbers]) for keys, values in memory.layers)
                memory = Memory(layers, None if memory.mask is None else memory.mask[numbers])
            session.admit(memory, strategy)
        return session


def _rules(
    settings: GenerationConfig,
    decoder: Decoder,
    length: int,
    custom: Sequence[Processor],
    stops: Sequence[StopRule],
) -> Rules:
    """The rules of rows with prompts of ``length`` tokens."""
    max_length = length_limit(settings, decoder, length)
    sizes = {"prompt_length": length, "max_length": max_length, "vocab_size": decoder.sizes.vocab_size}
    callers = map(with_checked_result, custom)
    processors = (*score_processors(settings, **sizes), *callers, *sampling_processors(settings))
    if settings.do_sample:
        processors += (drawable,)
    elif processors and settings.num_beams in (None, 1):  # a beam search checks all beams of an image together
        processors += (choosable,)
    if settings.num_beams not in (None, 1):
        _check_penalty(settings.length_penalty or 0.0, max_length)
    return Rules(frozenset(id_tuple(settings.eos_token_id)), length, max_length, processors, tuple(stops))


def length_limit(settings: GenerationConfig, decoder: Decoder, length: int, field: str = "decoder_input_ids") -> int:
    """The length, prompt included, at which a row ends whose prompt has ``length`` tokens.

    Raises InputError about the argument ``field`` if the prompt is too long for the decoder or for the settings.
    """
    positions = decoder.sizes.max_positions
    if positions is not None and length > positions:
        raise InputError(
            f"the decoder prompt has {length} tokens, but the decoder has positions for {positions}: shorten the prompt",
            field=field,
            expected=f"at most {positions} tokens",
            found=f"{length} tokens",
        )
    limit = settings.limit(length)
    if positions is not None:
        limit = min(limit, positions + 1)  # the last token is never fed
    if length >= limit:
        raise InputError(
            f"the decoder prompt has {length} tokens and the length limit is {limit}: nothing can follow; "
            "raise max_new_tokens or max_length, or shorten the prompt",
            field=field,
            expected=f"less than {limit} tokens",
            found=f"{length} tokens",
        )
    return limit


def _check_penalty(penalty: float, longest: int) -> None:
    """Raises ConfigError if a number of tokens to the power of ``length_penalty`` is not a float that can divide scores."""
    if abs(penalty) * math.log(longest) > MAX_EXPONENT:
        raise ConfigError(
            f"length_penalty is {penalty}; a score is divided by the number of its tokens, here up to {longest}, to that "
            "power, which is too large or too small for a float; choose a value nearer to 1",
            field="length_penalty",
            found=penalty,
        )


def _check_token(name: str, token: int, vocabulary: int) -> None:
    if token >= vocabulary:
        raise ConfigError(
            f"{name} is {token}, but the decoder's vocabulary has {vocabulary} tokens",
            field=name,
            expected=f"an id below {vocabulary}",
            found=token,
        )


def _start(settings: GenerationConfig, images: int, vocabulary: int, device: torch.device) -> Tensor:
    """(B, 1): the start token."""
    start = settings.decoder_start_token_id
    start = settings.bos_token_id if start is None else start
    if start is None:
        raise ConfigError(
            "neither decoder_start_token_id nor bos_token_id is set, so there is no token to begin with: set "
            "model.config.decoder_start_token_id to the tokenizer's bos or cls token id",
            field="decoder_start_token_id",
        )
    _check_token("decoder_start_token_id", start, vocabulary)
    return torch.full((images, 1), start, dtype=torch.long, device=device)


def _warn_of_padding(prompt: Tensor, settings: GenerationConfig) -> None:
    """Warn if a prompt begins or ends with padding that no mask marks: it would be continued as if it were text."""
    pad = settings.pad_token_id
    others = (settings.decoder_start_token_id, settings.bos_token_id, *id_tuple(settings.eos_token_id))
    if pad is not None and pad not in others and bool((prompt[:, [0, -1]] == pad).any()):
        warnings.warn(
            f"decoder_input_ids begin or end with the padding id {pad}, and there is no decoder_attention_mask, so padding is "
            "read as text; pass decoder_attention_mask=decoder_input_ids != pad_token_id",
            stacklevel=5,
        )


def _padding_first(prompt: Tensor, mask: Tensor) -> tuple[Tensor, Tensor | None]:
    """(B, P) ids with each row's padding before its tokens, and (B,) the number of tokens; None if there is no padding."""
    if mask.shape != prompt.shape:
        raise InputError(
            f"decoder_attention_mask must have the shape of decoder_input_ids, {tuple(prompt.shape)}, "
            f"got {tuple(mask.shape)}",
            field="decoder_attention_mask",
            expected=tuple(prompt.shape),
            found=tuple(mask.shape),
        )
    mask = mask.bool()
    lengths = mask.sum(dim=1)
    if not bool(lengths.all()):
        empty = (lengths == 0).nonzero().flatten().tolist()
        raise InputError(
            f"decoder_attention_mask leaves no token in row {', '.join(map(str, empty))} of {len(mask)}: each row needs at "
            "least one, such as the start token",
            field="decoder_attention_mask",
        )
    if bool(mask.all()):
        return prompt, None
    return prompt.gather(1, mask.long().argsort(dim=1, stable=True)), lengths


def _source(generator: torch.Generator | None, seed: int | None, device: torch.device) -> torch.Generator | None:
    """The generator that sampling draws from; None is torch's own state."""
    if generator is not None and seed is not None:
        raise ConfigError(f"seed={seed} and a generator are both given: leave one out", field="seed")
    if generator is not None and not hasattr(generator, "device"):
        raise ConfigError(
            f"generator must be a torch.Generator, got {generator!r}", field="generator", found=type(generator).__name__
        )
    if generator is not None and generator.device.type != device.type:
        raise InputError(
            f"the generator is on {generator.device}, the model on {device}: make it with "
            f"torch.Generator({str(device)!r})",
            field="generator",
            expected=str(device),
            found=str(generator.device),
        )
    if seed is None:
        return generator
    source = torch.Generator(device)
    with foreign(ConfigError, f"seed must be an int from {-(2**63)} to {2**64 - 1}, got {seed!r}", field="seed"):
        return source.manual_seed(seed)
