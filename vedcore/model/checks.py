"""What a caller passes to a model, checked and made into what a pass reads.

Shapes: B images, R rows, T new tokens, L keys in use, D hidden size.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from vedcore.contract.protocols import Decoder
from vedcore.contract.types import Memory, Step, causal_mask
from vedcore.errors import InputError
from vedcore.generation import PastKeyValues, new_cache
from vedcore.model.inputs import check_ids


def decoder_input(decoder: Decoder, ids: Tensor | None, embeds: Tensor | None) -> Tensor:
    """(R, T) ids or (R, T, D) embeddings: the one of the two that is given. InputError for both, none or another shape."""
    given = ids if embeds is None else embeds
    if given is None or (ids is not None and embeds is not None):
        raise InputError(
            "forward needs decoder_input_ids, decoder_inputs_embeds or labels, and only one of the first two"
        )
    size = decoder.hidden_size
    if given.dim() != (2 if embeds is None else 3) or not given.numel() or given.shape[2:] not in ((), (size,)):
        raise InputError(
            f"decoder_input_ids must have shape (rows, tokens), decoder_inputs_embeds (rows, tokens, hidden size {size}), "
            f"at least one of each, got {tuple(given.shape)}"
        )
    if embeds is not None:
        check_decoder_dtype(decoder, "decoder_inputs_embeds are", embeds.dtype)
    return given


def check_tokens(
    decoder: Any, shape: tuple[int, ...], ids: Tensor | None, positions: Tensor | None, token_types: Tensor | None
) -> None:
    """What is looked up in a table lies in it: beyond its end is an error that on some devices ends the process."""
    config, size, limit = decoder.config, decoder.vocab_size, decoder.max_positions
    if ids is not None:
        check_ids("decoder_input_ids", ids, shape, size, "the decoder's vocabulary; is the tokenizer the decoder's?")
    if positions is not None:
        # A RoBERTa's rows count from behind its padding id, so there are more of them than places for tokens.
        limit = None if limit is None else max(limit, getattr(config, "max_position_embeddings", 0))
        check_ids("decoder_position_ids", positions, shape, limit, "the positions that the decoder has")
    if token_types is not None:
        types = getattr(config, "type_vocab_size", size)  # GPT-2 looks them up among the tokens
        check_ids("decoder_token_type_ids", token_types, shape, types, "the token types that the decoder has")


def check_decoder_dtype(decoder: Decoder, what: str, dtype: torch.dtype) -> None:
    """InputError where ``dtype`` is not that of the decoder's weights, and no autocast brings the two together."""
    weight: Tensor = next(decoder.token_embedding.parameters())
    differ = weight.is_floating_point() and dtype != weight.dtype
    if differ and not torch.is_autocast_enabled(weight.device.type):
        raise InputError(
            f"{what} {dtype}, but the decoder's weights are {weight.dtype}; bring both to one type with .to(...)"
        )


def past_of(decoder: Decoder, given: Any) -> PastKeyValues:
    """``given`` as a past of ``decoder``. InputError if it is none."""
    past = PastKeyValues.of(given)
    weight = next(decoder.token_embedding.parameters())
    if past is given:  # what a pass has left
        cross = None
    else:  # one head would be taken for every head, and give other numbers
        with torch.no_grad():
            probe = weight.new_zeros(1, 1, decoder.memory_size)
            keys = [layer.remember(probe)[0] for layer in decoder.cross or ()]
        cross = [(key.shape[1], key.shape[3]) for key in keys]
    past.check(decoder.cache_shapes, cross, weight.device)
    for dtype in past.dtypes:
        check_decoder_dtype(decoder, "past_key_values are", dtype)
    return past


def next_step(
    decoder: Decoder,
    given: Tensor,
    past: PastKeyValues | None,
    memory: Memory,
    attention_mask: Tensor | None,
    use_cache: bool | None,
) -> tuple[Step, Any]:
    """The step that takes (R, T, ...) new tokens behind ``past``, and the cache that it leaves, if any."""
    rows, count = given.shape[:2]
    images = memory.layers[0][0].shape[0]
    if rows % images:
        raise InputError(f"{rows} rows of decoder tokens for {images} images: a multiple of the images is needed")
    if past is not None and past.rows != rows:
        raise InputError(f"{rows} rows of decoder tokens, but past_key_values hold {past.rows}: give the same rows")
    start = 0 if past is None else past.length
    extent = start + count
    limit = decoder.max_positions
    if limit is not None and extent > limit:
        raise InputError(
            f"{extent} decoder tokens, but the decoder has positions for {limit}; cut the texts with "
            f"tokenizer(..., truncation=True, max_length={limit})"
        )
    if attention_mask is not None and tuple(attention_mask.shape) != (rows, extent):
        raise InputError(
            f"decoder_attention_mask must have shape {(rows, extent)} (rows, tokens with the past), "
            f"got {tuple(attention_mask.shape)}"
        )
    cache = None
    if past is not None:
        cache = past.cache.copy(extent)
    elif use_cache or (use_cache is None and not torch.is_grad_enabled()):
        cache = new_cache(decoder, rows, extent)
    if cache is not None:
        cache.set_lengths(cache.lengths.new_full((rows,), extent))
    slots = torch.arange(start, extent, device=given.device)[None]
    keys = None if attention_mask is None else attention_mask.bool()
    step = Step(slots=slots, mask=causal_mask(slots, extent, keys), extent=extent, memory=memory, cache=cache)
    return step, cache if use_cache is not False else None


def listed_functions(functions: Any, name: str) -> tuple[Any, ...]:
    """What a caller passes as ``name``; None is none. InputError for anything but a list of functions."""
    if functions is None:
        return ()
    listed = tuple(functions) if isinstance(functions, Iterable) else ()
    if not isinstance(functions, Iterable) or not all(map(callable, listed)):
        raise InputError(f"{name} must be a list of functions, got {kind_of(functions)}: {name}=[...]")
    return listed


def kind_of(value: Any) -> str:
    """Its class by the library's name, for another library may have a class of the same."""
    kind = type(value)
    library = kind.__module__.partition(".")[0]
    return kind.__name__ if library == "builtins" else f"{library}.{kind.__name__}"
