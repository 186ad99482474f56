"""Many images encoded a few at a time. Shapes: B images, C channels, S encoder states, D hidden size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import repeat
from typing import Any

import torch
from torch import Tensor

from vedcore.contract.types import EncoderOutput

PIECE = 2**19
"""Pixel values that generation encodes at once on a CPU: what is in between then stays in the cache and in one heap.

A fifth less time for 32 text lines, no more for 8 images of 224 x 224, and many images take no more memory than a few.
"""


def encode_in_pieces(
    encode: Callable[..., EncoderOutput],
    pixel_values: Tensor,
    *,
    pixel_mask: Tensor | None,
    interpolate_pos_encoding: bool,
    trace: Any = None,
) -> EncoderOutput:
    """``encode``, a large batch on a CPU piece by piece: see PIECE."""
    encode = partial(encode, interpolate_pos_encoding=interpolate_pos_encoding, trace=trace)
    is_small = not isinstance(pixel_values, Tensor) or pixel_values.numel() <= PIECE
    if is_small or pixel_values.device.type != "cpu" or trace is not None:
        return encode(pixel_values, pixel_mask=pixel_mask)
    is_odd = pixel_mask is not None and (not isinstance(pixel_mask, Tensor) or len(pixel_mask) != len(pixel_values))
    if is_odd or pixel_values.dim() != 4:
        return encode(pixel_values, pixel_mask=pixel_mask)  # which says what is wrong
    pieces = -(-pixel_values.numel() // PIECE)
    size = -(-len(pixel_values) // pieces)
    masks = repeat(None) if pixel_mask is None else torch.split(pixel_mask, size)
    outputs = [
        encode(some, pixel_mask=mask) for some, mask in zip(torch.split(pixel_values, size), masks, strict=False)
    ]
    states = torch.cat([output.states for output in outputs])
    seen = [output.mask for output in outputs if output.mask is not None]
    return replace(outputs[0], states=states, mask=torch.cat(seen) if seen else None)
