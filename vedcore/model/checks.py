"""Checks of what a caller passes to a model. Each is stated once, and made before anything is computed.

Shapes: B images, R rows, T new tokens, L tokens with the past, S encoder states, D hidden size.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vedcore.contract.protocols import Decoder
from vedcore.contract.types import EncoderOutput, Memory
from vedcore.errors import ConfigError, InputError, foreign
from vedcore.generation import GenerationConfig, PastKeyValues
from vedcore.storage.loading import check_dtype


def check_tensors(device: torch.device, **given: Any) -> None:
    """Raises InputError unless every value that is not None is a dense tensor on ``device``, the model's."""
    for name, tensor in given.items():
        if tensor is None:
            continue
        if not isinstance(tensor, Tensor):
            found = type(tensor).__name__
            raise InputError(f"{name} must be a tensor, got {found}", field=name, expected="a tensor", found=found)
        if tensor.layout != torch.strided:
            raise InputError(
                f"{name} is a tensor of {tensor.layout}; pass a dense one: .to_dense()",
                field=name,
                expected="a dense tensor",
                found=str(tensor.layout),
            )
        if tensor.device != device:
            raise InputError(
                f"{name}: on {tensor.device}, but the model is on {device}; bring both to one device with .to(...)",
                field=name,
                expected=str(device),
                found=str(tensor.device),
            )


def check_ids(name: str, ids: Tensor, shape: tuple[int, ...], bound: int | None, what: str) -> None:
    """Raises InputError unless ``ids`` are integers of ``shape`` (R, T), or (1, T), from 0 and below ``bound``."""
    if ids.dtype not in (torch.long, torch.int) or tuple(ids.shape) not in (shape, (1, *shape[1:])):
        raise InputError(
            f"{name} must be whole numbers (torch.long) of shape {shape}, got {ids.dtype} of {tuple(ids.shape)}",
            field=name,
            expected=shape,
            found=tuple(ids.shape),
        )
    if torch.compiler.is_compiling():  # reading values would break the graph
        return
    low, high = torch.stack(torch.aminmax(ids)).tolist()  # one wait for the device
    if low < 0 or (bound is not None and high >= bound):
        allowed = "0 and more" if bound is None else f"0 to {bound - 1}"
        raise InputError(
            f"{name} run from {low} to {high}; allowed are {allowed}, {what}",
            field=name,
            expected=allowed,
            found=f"{low} to {high}",
        )


def check_place(dtype: torch.dtype | None, device: torch.device | str | None) -> None:
    """Raises ConfigError unless a model can have ``dtype`` and be on ``device`` here."""
    check_dtype(dtype)
    message = f"device={device!r} cannot be used here; pass device='cpu', or leave it out"
    with foreign(ConfigError, message, field="device", found=str(device)):
        torch.empty(0, device=device)


def check_images(pixel_values: Any) -> None:
    """Raises InputError for a batch without images."""
    if pixel_values.shape[:1] == (0,):
        raise InputError("pixel_values holds no images", field="pixel_values", found=tuple(pixel_values.shape))


def encoder_output(given: Any) -> EncoderOutput:
    """``encoder_outputs`` as an EncoderOutput: ours, a tuple, or an object with ``last_hidden_state``.

    Raises InputError unless it holds states (B, S, D), at least one, and a mask (B, S) of bools if any.
    """
    first = given[0] if isinstance(given, tuple | list) and given else getattr(given, "last_hidden_state", given)
    output = given if isinstance(given, EncoderOutput) else EncoderOutput(first)
    states, mask = output.states, output.mask
    if not isinstance(states, Tensor) or states.dim() != 3 or 0 in states.shape[:2] or not states.is_floating_point():
        raise InputError(
            "encoder_outputs must be an EncoderOutput, or hold the states (batch, tokens, hidden size) first: floating-point "
            f"numbers, at least one image and one token, got {_described(states)}",
            field="encoder_outputs",
            found=_described(states),
        )
    is_mask = isinstance(mask, Tensor) and mask.dtype == torch.bool and mask.shape == states.shape[:2]
    if mask is not None and not is_mask:
        raise InputError(
            f"the mask of encoder_outputs must be bools of {tuple(states.shape[:2])}, got {_described(mask)}",
            field="encoder_outputs",
            expected=tuple(states.shape[:2]),
            found=_described(mask),
        )
    return output


def check_encoder_output(output: EncoderOutput, decoder: Decoder, width: int) -> None:
    """Raises InputError unless ``output`` has states of ``width`` in the type and on the device of the decoder."""
    device = next(decoder.token_embedding.parameters()).device
    check_tensors(device, encoder_outputs=output.states, **{"the mask of encoder_outputs": output.mask})
    check_decoder_dtype(decoder, "encoder_outputs hold states of", output.states.dtype)
    if output.states.shape[2] != width:
        raise InputError(
            f"encoder_outputs hold states of width {output.states.shape[2]}, but the encoder's hidden size is {width}: pass "
            "what model.encode returns, before the bridge",
            field="encoder_outputs",
            expected=width,
            found=output.states.shape[2],
        )


def check_decoder_dtype(decoder: Decoder, what: str, dtype: torch.dtype) -> None:
    """Raises InputError if ``dtype`` is not that of the decoder's weights, and no autocast brings the two together."""
    weight: Tensor = next(decoder.token_embedding.parameters())
    differ = weight.is_floating_point() and dtype != weight.dtype
    if differ and not torch.is_autocast_enabled(weight.device.type):
        raise InputError(
            f"{what} {dtype}, but the decoder's weights are {weight.dtype}; bring both to one type with .to(...)",
            field=what.split(" ", 1)[0],
            expected=str(weight.dtype),
            found=str(dtype),
        )


@dataclass(slots=True)
class NewTokens:
    """The new tokens of a pass: (R, T) ids or (R, T, D) embeddings, and what belongs to them.

    positions, token_types: (R or 1, T). attention_mask: (R, L), False or 0 for padding.
    """

    ids: Tensor | None
    embeds: Tensor | None
    positions: Tensor | None
    token_types: Tensor | None
    attention_mask: Tensor | None

    @property
    def given(self) -> Tensor:
        """The embeddings if there are any, else the ids."""
        given = self.ids if self.embeds is None else self.embeds
        if given is None or (self.ids is not None and self.embeds is not None):
            raise InputError(
                "forward needs decoder_input_ids, decoder_inputs_embeds or labels, and only one of the first two",
                field="decoder_input_ids",
            )
        return given


def check_new_tokens(
    decoder: Decoder, tokens: NewTokens, past: PastKeyValues | None, memory: Memory, labels: Tensor | None
) -> None:
    """Raises InputError unless new tokens fit the decoder, the past, the images and the labels."""
    given, size = tokens.given, decoder.sizes.hidden_size
    of_embeds = tokens.embeds is not None
    if given.dim() != (3 if of_embeds else 2) or not given.numel() or given.shape[2:] not in ((), (size,)):
        raise InputError(
            f"decoder_input_ids must have shape (rows, tokens), decoder_inputs_embeds (rows, tokens, hidden size {size}), "
            f"at least one of each, got {tuple(given.shape)}",
            field="decoder_inputs_embeds" if of_embeds else "decoder_input_ids",
            found=tuple(given.shape),
        )
    if of_embeds:
        check_decoder_dtype(decoder, "decoder_inputs_embeds are", given.dtype)
    check_tensors(
        given.device,
        decoder_position_ids=tokens.positions,
        decoder_token_type_ids=tokens.token_types,
        decoder_attention_mask=tokens.attention_mask,
    )
    check_tokens(decoder, tuple(given.shape[:2]), tokens.ids, tokens.positions, tokens.token_types)
    if labels is not None and labels.shape != given.shape[:2]:
        raise InputError(
            f"labels of shape {tuple(labels.shape)} for decoder tokens of shape {tuple(given.shape[:2])}",
            field="labels",
            expected=tuple(given.shape[:2]),
            found=tuple(labels.shape),
        )
    _check_rows(decoder, given, past, memory, tokens.attention_mask)


def check_tokens(
    decoder: Decoder,
    shape: tuple[int, ...],
    ids: Tensor | None,
    positions: Tensor | None = None,
    token_types: Tensor | None = None,
) -> None:
    """Raises InputError for ids, positions or token types beyond their tables, which ends the process on some devices."""
    sizes = decoder.sizes
    if ids is not None:
        what = "the decoder's vocabulary; is the tokenizer the decoder's?"
        check_ids("decoder_input_ids", ids, shape, sizes.vocab_size, what)
    if positions is not None:
        limit = sizes.max_positions if sizes.position_ids is None else sizes.position_ids
        check_ids("decoder_position_ids", positions, shape, limit, "the positions that the decoder has")
    if token_types is not None:
        if not sizes.token_types:
            raise InputError(
                f"decoder_token_type_ids: {type(decoder).__name__} has no token types; leave the argument out",
                field="decoder_token_type_ids",
            )
        what = "the token types that the decoder has"
        check_ids("decoder_token_type_ids", token_types, shape, sizes.token_types, what)


def check_prompt(decoder: Decoder, prompt: Tensor | None, images: int) -> None:
    """Raises InputError unless ``prompt`` is None or holds (B, P) ids of the vocabulary, a row per image."""
    if prompt is None:
        return
    if prompt.dim() != 2 or prompt.shape[0] != images or not prompt.shape[1]:
        raise InputError(
            f"decoder_input_ids must have shape ({images}, tokens), a row per image, got {tuple(prompt.shape)}",
            field="decoder_input_ids",
            expected=(images, "tokens"),
            found=tuple(prompt.shape),
        )
    check_tokens(decoder, tuple(prompt.shape), prompt)


def required_images(pixel_values: Tensor | None) -> Tensor:
    """``pixel_values``. Raises InputError if they are missing and nothing stands for them."""
    if pixel_values is None:
        raise InputError(
            "no images: pass pixel_values or encoder_outputs, or past_key_values to forward", field="pixel_values"
        )
    return pixel_values


def past_of(decoder: Decoder, given: Any) -> PastKeyValues | None:
    """``past_key_values`` as a past of ``decoder``. Raises InputError if it does not fit."""
    if given is None:
        return None
    past = PastKeyValues.of(given)
    weight = next(decoder.token_embedding.parameters())
    if past is given:  # from a forward pass
        cross = None
    else:  # keys of one head would be broadcast to all heads, and give other numbers
        with torch.no_grad():
            probe = weight.new_zeros(1, 1, decoder.sizes.memory_size)
            keys = [layer.remember(probe)[0] for layer in decoder.cross or ()]
        cross = [(key.shape[1], key.shape[3]) for key in keys]
    past.check(decoder.sizes.layers, cross, weight.device)
    for dtype in past.dtypes:
        check_decoder_dtype(decoder, "past_key_values are", dtype)
    return past


def _check_rows(
    decoder: Decoder, given: Tensor, past: PastKeyValues | None, memory: Memory, attention_mask: Tensor | None
) -> None:
    """Raises InputError unless (R, T, ...) new tokens fit the past, the images, the positions and the mask."""
    rows, count = given.shape[:2]
    if rows % memory.images:
        raise InputError(
            f"{rows} rows of decoder tokens for {memory.images} images: a multiple of the images is needed",
            field="decoder_input_ids",
            expected=f"a multiple of {memory.images} rows",
            found=rows,
        )
    if past is not None and past.rows != rows:
        raise InputError(
            f"{rows} rows of decoder tokens, but past_key_values hold {past.rows}: give the same rows",
            field="past_key_values",
            expected=rows,
            found=past.rows,
        )
    length = count if past is None else past.length + count
    limit = decoder.sizes.max_positions
    if limit is not None and length > limit:
        raise InputError(
            f"{length} decoder tokens, but the decoder has positions for {limit}; cut the texts with "
            f"tokenizer(..., truncation=True, max_length={limit})",
            field="decoder_input_ids",
            expected=f"at most {limit} tokens",
            found=length,
        )
    if attention_mask is not None and tuple(attention_mask.shape) != (rows, length):
        raise InputError(
            f"decoder_attention_mask must have shape {(rows, length)} (rows, tokens with the past), "
            f"got {tuple(attention_mask.shape)}",
            field="decoder_attention_mask",
            expected=(rows, length),
            found=tuple(attention_mask.shape),
        )


def listed_functions(functions: Any, name: str) -> tuple[Any, ...]:
    """The argument ``name`` as a tuple; None is empty. Raises InputError for anything but a list of functions."""
    if functions is None:
        return ()
    listed = tuple(functions) if isinstance(functions, Iterable) else ()
    if not isinstance(functions, Iterable) or not all(map(callable, listed)):
        found = kind_of(functions)
        raise InputError(f"{name} must be a list of functions, got {found}: {name}=[...]", field=name, found=found)
    return listed


def check_generation_config(config: Any) -> None:
    """Raises ConfigError unless ``config`` is None or a GenerationConfig of vedcore."""
    if config is not None and not isinstance(config, GenerationConfig):
        raise ConfigError(
            f"generation_config must be a GenerationConfig, got {kind_of(config)}: make one of fields with "
            "GenerationConfig(num_beams=4, ...), or pass the fields themselves (num_beams=4)",
            field="generation_config",
            expected="vedcore.GenerationConfig",
            found=kind_of(config),
        )


def kind_of(value: Any) -> str:
    """The class of ``value`` with its library, because another library may have a class of the same name."""
    kind = type(value)
    library = kind.__module__.partition(".")[0]
    return kind.__name__ if library == "builtins" else f"{library}.{kind.__name__}"


def _described(value: Any) -> str:
    return f"{value.dtype} of {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
