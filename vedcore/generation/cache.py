"""The keys and values of self-attention, in storage that is allocated in advance and written in place.

Shapes: R rows, H heads, C allocated slots, L slots in use, d head width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vedcore.contract.protocols import AttentionSizes
from vedcore.contract.types import Step, take
from vedcore.errors import InputError


class SelfCache:
    """A cache of ``rows`` rows with ``capacity`` slots for the layers of a decoder."""

    def __init__(
        self,
        layers: Sequence[AttentionSizes],
        rows: int,
        capacity: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        def empty(layer: AttentionSizes) -> Tensor:
            return torch.zeros(rows, layer.key_value_heads, capacity, layer.head_width, dtype=dtype, device=device)

        self._layers = [(empty(layer), empty(layer)) for layer in layers]
        self.lengths = torch.zeros(rows, dtype=torch.long, device=device)

    @property
    def capacity(self) -> int:
        """C."""
        return self._layers[0][0].shape[2] if self._layers else 0

    def reserve(self, extent: int) -> None:
        """Make room for ``extent`` slots. The capacity at least doubles, so that growth is rare."""
        if self._layers and extent > self.capacity:
            more = max(extent, 2 * self.capacity) - self.capacity
            self._layers = [(F.pad(k, (0, 0, 0, more)), F.pad(v, (0, 0, 0, more))) for k, v in self._layers]

    def write(self, layer: int, keys: Tensor, values: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        """Put (R, H, T, d) keys and values into ``step.slots``; return all of the layer's, (R, H, L, d)."""
        slots = step.slots
        if slots is None:
            raise InputError("a step with a cache needs slots, the places of its tokens", field="slots")
        all_keys, all_values = self._layers[layer]
        keys, values = keys.to(all_keys.dtype), values.to(all_values.dtype)  # autocast changes their type
        if slots.shape[0] == 1:  # every row uses the same slots
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
        """The cache of only the ``rows``, in that order; rows may repeat. This object must not be used afterwards."""
        return self.of([(take(k, rows), take(v, rows)) for k, v in self._layers], self.lengths[rows])

    def join(self, other: SelfCache) -> SelfCache:
        """The rows of both."""
        room = max(self.capacity, other.capacity)

        def both(a: Tensor, b: Tensor) -> Tensor:
            a, b = (F.pad(x, (0, 0, 0, room - x.shape[2])) for x in (a, b))
            return torch.cat([a, b])

        layers = [(both(k, ok), both(v, ov)) for (k, v), (ok, ov) in zip(self._layers, other._layers, strict=True)]
        return self.of(layers, torch.cat([self.lengths, other.lengths]))

    def set_lengths(self, lengths: Tensor) -> None:
        """Advance or roll back to (R,) ``lengths``."""
        self.lengths = lengths

    def copy(self, capacity: int) -> SelfCache:
        """A cache with the same content and room for ``capacity`` slots. This one stays as it is."""
        longest = int(self.lengths.max())
        room = max(capacity, longest) - longest
        layers = [
            (F.pad(k, (0, 0, 0, room)), F.pad(v, (0, 0, 0, room))) for k, v in map(self.read, range(len(self._layers)))
        ]
        return self.of(layers, self.lengths)

    @property
    def layers(self) -> list[tuple[Tensor, Tensor]]:
        """The keys and values of each layer, (R, H, C, d) each."""
        return self._layers

    @classmethod
    def of(cls, layers: list[tuple[Tensor, Tensor]], lengths: Tensor) -> SelfCache:
        """The cache that holds these keys and values, of which (R,) ``lengths`` slots are in use."""
        cache = cls((), 0, 0)
        cache._layers, cache.lengths = layers, lengths
        return cache
