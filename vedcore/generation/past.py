"""``past_key_values``: what one forward pass hands to the next, in the documented form of transformers.

Shapes: R rows, B images, H heads, L tokens so far, S encoder states, d head width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from vedcore.contract.protocols import AttentionSizes
from vedcore.contract.types import Memory
from vedcore.errors import InputError
from vedcore.generation.cache import SelfCache


class PastKeyValues(Sequence[tuple[Tensor, Tensor, Tensor, Tensor]]):
    """The cache and the memory of a forward pass, for the next one.

    It reads as the documented tuple of tuples: (self keys, self values, cross keys, cross values) of each layer. Passing it
    to a forward pass does not change it.
    """

    def __init__(self, cache: SelfCache, memory: Memory) -> None:
        self.cache, self.memory = cache, memory

    @classmethod
    def of(cls, layers: Sequence[Sequence[Tensor]]) -> PastKeyValues:
        """From four tensors per layer: (R, H, L, d) twice, then (B, H, S, d) twice. Raises InputError for anything else."""
        if isinstance(layers, PastKeyValues):
            return layers
        if not _has_four_tensors_per_layer(layers):
            raise InputError(
                "past_key_values must hold four tensors per layer: self keys and values, cross keys and values",
                field="past_key_values",
            )
        found = {tensor.shape[2] for layer in layers for tensor in layer[:2]}
        if len(found) > 1:
            raise InputError(
                f"past_key_values hold self keys and values of {', '.join(map(str, sorted(found)))} tokens; one length is "
                "needed: pass all layers of one forward pass",
                field="past_key_values",
            )
        rows, _, length, _ = layers[0][0].shape
        lengths = torch.full((rows,), length, dtype=torch.long, device=layers[0][0].device)
        cache = SelfCache.of([(layer[0], layer[1]) for layer in layers], lengths)
        return cls(cache, Memory(tuple((layer[2], layer[3]) for layer in layers)))

    def check(
        self, layers: Sequence[AttentionSizes], cross: Sequence[tuple[int, int]] | None, device: torch.device
    ) -> None:
        """Raises InputError unless this fits a decoder on ``device`` with these ``layers`` of self-attention.

        cross: the heads and head width of each cross-attention layer; None: any.
        """
        if len(self) != len(layers):
            raise InputError(
                f"past_key_values has {len(self)} layers, but the decoder has {len(layers)}",
                field="past_key_values",
                expected=len(layers),
                found=len(self),
            )
        images, _, states, _ = self.memory.layers[0][0].shape
        if not images or not states:
            raise InputError(
                f"past_key_values hold cross keys of {images} images with {states} states: at least one of each is needed",
                field="past_key_values",
            )
        for index, (own, others) in enumerate(zip(self.cache.layers, self.memory.layers, strict=True)):
            _, heads, width = layers[index]
            self_shape = (self.rows, heads, own[0].shape[2], width)
            heads, width = others[0].shape[1::2] if cross is None else cross[index]
            cross_shape = (images, heads, states, width)
            names = ("self keys", "self values", "cross keys", "cross values")
            shapes = (self_shape, self_shape, cross_shape, cross_shape)
            for name, tensor, shape in zip(names, (*own, *others), shapes, strict=True):
                if tensor.shape != shape or tensor.device != device:
                    raise InputError(
                        f"past_key_values: the {name} of layer {index} have shape {tuple(tensor.shape)} on {tensor.device}, "
                        f"but the decoder needs {shape} on {device} (rows or images, heads, tokens or states, head width); "
                        "pass what a forward pass of this model returned",
                        field="past_key_values",
                        tensor=f"{name} of layer {index}",
                        expected=shape,
                        found=tuple(tensor.shape),
                    )

    @property
    def dtypes(self) -> set[torch.dtype]:
        """The data types of all tensors."""
        return {
            tensor.dtype for layers in (self.cache.layers, self.memory.layers) for pair in layers for tensor in pair
        }

    def __len__(self) -> int:
        return len(self.memory.layers)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        if isinstance(index, slice):
            return tuple(self)[index]
        return (*self.cache.read(index), *self.memory.layers[index])

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        return (self[i] for i in range(len(self)))

    @property
    def rows(self) -> int:
        """R."""
        return len(self.cache.lengths)

    @property
    def length(self) -> int:
        """L."""
        return int(self.cache.lengths.max())


def _has_four_tensors_per_layer(layers: Any) -> bool:
    return (
        isinstance(layers, list | tuple)
        and len(layers) > 0
        and all(isinstance(layer, list | tuple) and len(layer) == 4 for layer in layers)
        and all(isinstance(tensor, Tensor) and tensor.dim() == 4 for layer in layers for tensor in layer)
    )
