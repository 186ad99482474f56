"""The keys and values of self-attention, in storage that is allocated ahead and written in place.

Shapes: R rows, H heads, C slots allocated, L slots in use, d head width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vedcore.contract.types import Memory, Step, take
from vedcore.errors import InputError


class SelfCache:
    """A cache of ``rows`` rows for a decoder of these ``shapes`` (a layer each: heads, head width)."""

    def __init__(
        self,
        shapes: Sequence[tuple[int, int]],
        rows: int,
        capacity: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        def empty(heads: int, width: int) -> Tensor:
            return torch.zeros(rows, heads, capacity, width, dtype=dtype, device=device)

        self._layers = [(empty(*shape), empty(*shape)) for shape in shapes]
        self.lengths = torch.zeros(rows, dtype=torch.long, device=device)

    @property
    def capacity(self) -> int:
        """C, the slots there is room for."""
        return self._layers[0][0].shape[2] if self._layers else 0

    def reserve(self, extent: int) -> None:
        """Make room for ``extent`` slots, doubling so that growth is rare."""
        if self._layers and extent > self.capacity:
            more = max(extent, 2 * self.capacity) - self.capacity
            self._layers = [(F.pad(k, (0, 0, 0, more)), F.pad(v, (0, 0, 0, more))) for k, v in self._layers]

    def write(self, layer: int, keys: Tensor, values: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        """Put (R, H, T, d) keys and values into ``step.slots``; return all of the layer's, (R, H, L, d)."""
        slots = step.slots
        if slots is None:
            raise InputError("a step with a cache needs slots: where its tokens go")
        all_keys, all_values = self._layers[layer]
        keys, values = keys.to(all_keys.dtype), values.to(all_values.dtype)  # autocast makes them of another
        if slots.shape[0] == 1:  # every row at the same place
            places = slots[0]
            all_keys.index_copy_(2, places, keys)
            all_values.index_copy_(2, places, values)
        else:
            index = slots[:, None, :, None].expand_as(keys)
            all_keys.scatter_(2, index, keys)
            all_values.scatter_(2, index, values)
        return all_keys.narrow(2, 0, step.extent), all_values.narrow(2, 0, step.extent)

    def read(self, layer: int) -> tuple[Tensor, Tensor]:
        """The keys and values of a layer, (R, H, longest length, d) each."""
        longest = int(self.lengths.max())
        keys, values = self._layers[layer]
        return keys[:, :, :longest], values[:, :, :longest]

    def select(self, rows: Tensor) -> SelfCache:
        """The cache of ``rows`` alone, in that order. This one is spent: its storage may be reused."""
        return self._with([(take(k, rows), take(v, rows)) for k, v in self._layers], self.lengths[rows])

    def join(self, other: SelfCache) -> SelfCache:
        """The rows of both."""
        room = max(self.capacity, other.capacity)
        self.reserve(room)
        other.reserve(room)
        room = max(self.capacity, other.capacity)

        def both(a: Tensor, b: Tensor) -> Tensor:
            a, b = (F.pad(x, (0, 0, 0, room - x.shape[2])) for x in (a, b))
            return torch.cat([a, b])

        layers = [(both(k, ok), both(v, ov)) for (k, v), (ok, ov) in zip(self._layers, other._layers, strict=True)]
        return self._with(layers, torch.cat([self.lengths, other.lengths]))

    def set_lengths(self, lengths: Tensor) -> None:
        """Advance or roll back to (R,) ``lengths``."""
        self.lengths = lengths

    def copy(self, capacity: int) -> SelfCache:
        """A cache with the same content and room for ``capacity`` slots; this one stays as it is."""
        longest = int(self.lengths.max())
        room = max(capacity, longest) - longest
        layers = [(F.pad(k, (0, 0, 0, room)), F.pad(v, (0, 0, 0, room))) for k, v in map(self.read, self._indices())]
        return self._with(layers, self.lengths)

    def _indices(self) -> range:
        return range(len(self._layers))

    def _with(self, layers: list[tuple[Tensor, Tensor]], lengths: Tensor) -> SelfCache:
        cache = SelfCache((), 0, 0)
        cache._layers, cache.lengths = layers, lengths
        return cache


class PastKeyValues(Sequence[tuple[Tensor, Tensor, Tensor, Tensor]]):
    """What a forward pass leaves for the next: a layer each (self keys, self values, cross keys, cross values).

    Reads as the documented tuple of tuples; inside it is the cache and the memory. Passing it on does not change it.
    """

    def __init__(self, cache: SelfCache, memory: Memory) -> None:
        self.cache, self.memory = cache, memory

    @classmethod
    def of(cls, layers: Sequence[Sequence[Tensor]]) -> PastKeyValues:
        """From four tensors a layer: (R, H, L, d) twice, then (B, H, S, d) twice. InputError if they are not that."""
        if isinstance(layers, PastKeyValues):
            return layers
        if not _four_tensors_a_layer(layers):
            raise InputError(
                "past_key_values must hold four tensors a layer: self keys and values, cross keys and values"
            )
        lengths = {tensor.shape[2] for layer in layers for tensor in layer[:2]}
        if len(lengths) > 1:
            raise InputError(
                f"past_key_values hold self keys and values of {', '.join(map(str, sorted(lengths)))} tokens; one length is "
                "needed: pass all layers of one forward pass"
            )
        cache = SelfCache((), 0, 0)
        cache._layers = [(layer[0], layer[1]) for layer in layers]
        rows, _, length, _ = layers[0][0].shape
        cache.lengths = torch.full((rows,), length, dtype=torch.long, device=layers[0][0].device)
        return cls(cache, Memory(tuple((layer[2], layer[3]) for layer in layers)))

    def check(
        self, shapes: Sequence[tuple[int, int]], cross: Sequence[tuple[int, int]] | None, device: torch.device
    ) -> None:
        """InputError unless this is of a decoder on ``device`` whose layers have these heads and head widths.

        shapes: of self-attention, a layer each. cross: of cross-attention; None: whatever is here.
        """
        if len(self) != len(shapes):
            raise InputError(f"past_key_values has {len(self)} layers, but the decoder has {len(shapes)}")
        images, _, states, _ = self.memory.layers[0][0].shape
        if not images or not states:
            raise InputError(
                f"past_key_values hold cross keys of {images} images with {states} states: one of each is needed"
            )
        for index, ((keys, values), (cross_keys, cross_values)) in enumerate(
            zip(self.cache._layers, self.memory.layers, strict=True)
        ):
            heads, width = shapes[index]
            own = (self.rows, heads, keys.shape[2], width)
            heads, width = cross_keys.shape[1::2] if cross is None else cross[index]
            other = (images, heads, states, width)
            for name, tensor, wanted in (
                ("self keys", keys, own),
                ("self values", values, own),
                ("cross keys", cross_keys, other),
                ("cross values", cross_values, other),
            ):
                if tensor.shape != wanted or tensor.device != device:
                    raise InputError(
                        f"past_key_values: the {name} of layer {index} are {tuple(tensor.shape)} on {tensor.device}, but "
                        f"{wanted} on {device} is what the decoder has there (rows or images, heads, tokens or states, head "
                        "width); pass what a forward pass of this model returned"
                    )

    @property
    def dtypes(self) -> set[torch.dtype]:
        """The types of all tensors."""
        return {
            tensor.dtype for layers in (self.cache._layers, self.memory.layers) for pair in layers for tensor in pair
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
        """The number of tokens that are behind."""
        return int(self.cache.lengths.max())


def _four_tensors_a_layer(layers: Any) -> bool:
    return (
        isinstance(layers, list | tuple)
        and len(layers) > 0
        and all(isinstance(layer, list | tuple) and len(layer) == 4 for layer in layers)
        and all(isinstance(tensor, Tensor) and tensor.dim() == 4 for layer in layers for tensor in layer)
    )
