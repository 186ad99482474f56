"""What passes between an encoder, an adapter, a decoder and the generation loop.

B images, R rows (B times beams, or any), T new tokens, L keys in use, S encoder states, D hidden size, H heads, d head width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from vedcore.errors import InputError

Trace = Callable[[str, int, Tensor], None]
"""Called as ``trace(kind, layer, tensor)`` with what a user wants to see inside.

``"hidden"``: (R, T, D), layer 0 is what enters the first block, layer n what leaves block n.
``"self"``, ``"cross"``: attention probabilities (R, H, T, L) and (R, H, T, S). No trace costs nothing.
"""


class Batch(dict[str, Any]):
    """A mapping whose keys read as attributes too: ``processor(image).pixel_values``, ``model(**batch)``."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"no {name!r} here; this batch holds {', '.join(self) or 'nothing'}") from None

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with its tensors on ``device``."""
        return Batch({k: v.to(device) if isinstance(v, Tensor) else v for k, v in self.items()})


class Output:
    """A dataclass of outcomes that reads as a mapping too, of the fields that are there, and by their positions.

    As transformers' ModelOutput does: ``"loss" in output``, ``output["loss"]``, ``output[0]``, ``dict(output)``.
    """

    __slots__ = ()

    def keys(self) -> tuple[str, ...]:
        """The names of the fields that are there, in order."""
        return tuple(field.name for field in fields(self) if getattr(self, field.name) is not None)  # type: ignore[arg-type]

    def values(self) -> tuple[Any, ...]:
        """The fields that are there."""
        return tuple(getattr(self, name) for name in self.keys())

    def items(self) -> tuple[tuple[str, Any], ...]:
        """Both."""
        return tuple(zip(self.keys(), self.values(), strict=True))

    def to_tuple(self) -> tuple[Any, ...]:
        """The fields that are there, in order."""
        return self.values()

    def __getitem__(self, key: int | slice | str) -> Any:
        """By position among the fields that are there, or by name; KeyError for a name that is none of them."""
        if not isinstance(key, str):
            return self.values()[key]
        if key not in self:
            raise KeyError(f"{key!r}; here are {', '.join(self)}")
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, name: object) -> bool:
        return name in self.keys()

    def __len__(self) -> int:
        return len(self.keys())


@dataclass(slots=True)
class EncoderOutput:
    """What an encoder makes of B images.

    states: (B, S, D). mask: (B, S), True where a state belongs to the image and not to padding; None means all.
    grid: (h, w) when the states after ``extra`` leading tokens (class, distillation) are a grid of patches, row by row.
    """

    states: Tensor
    mask: Tensor | None = None
    grid: tuple[int, int] | None = None
    extra: int = 0


@dataclass(slots=True)
class Memory:
    """The cross-attention keys and values of B images: computed once an image, never repeated for its beams.

    layers: for each cross-attention layer keys and values, each (B, H, S, d). mask: (B, S) bool or None.
    rows: (R,) the image that each row looks at; None means R / B rows an image, in order.
    """

    layers: tuple[tuple[Tensor, Tensor], ...]
    mask: Tensor | None = None
    rows: Tensor | None = None

    def select(self, images: Tensor) -> Memory:
        """The memory of ``images`` (long, (B',)) alone, in that order. This one is spent: its storage may be reused."""
        layers = tuple((take(keys, images), take(values, images)) for keys, values in self.layers)
        return Memory(layers, None if self.mask is None else self.mask[images])  # the mask may be the caller's own

    def join(self, others: Memory) -> Memory:
        """Both memories as one; where S differs the shorter is padded and masked."""
        if self.rows is not None or others.rows is not None:
            raise InputError("memories with explicit rows cannot be joined; join first, then set rows")
        sizes = [memory.layers[0][0].shape[2] for memory in (self, others)]
        longest = max(sizes)

        def pad(tensor: Tensor) -> Tensor:
            return torch.nn.functional.pad(tensor, (0, 0, 0, longest - tensor.shape[2]))

        layers = tuple(
            (torch.cat([pad(a), pad(b)]), torch.cat([pad(c), pad(d)]))
            for (a, c), (b, d) in zip(self.layers, others.layers, strict=True)
        )
        if sizes[0] == sizes[1] and self.mask is None and others.mask is None:
            return Memory(layers)
        mask = torch.cat([memory._full_mask(longest) for memory in (self, others)])
        return Memory(layers, mask)

    def _full_mask(self, longest: int) -> Tensor:
        keys = self.layers[0][0]
        mask = self.mask if self.mask is not None else keys.new_ones(keys.shape[0], keys.shape[2], dtype=torch.bool)
        return torch.nn.functional.pad(mask, (0, longest - mask.shape[1]))


def take(buffer: Tensor, rows: Tensor) -> Tensor:
    """``buffer[rows]``, in the storage of ``buffer`` where no more rows are asked for than it has.

    Only rows that change their place are copied: a row that leaves a large batch costs one copy, not a copy of all.
    """
    count = rows.shape[0]
    if count > buffer.shape[0] or not torch.is_inference_mode_enabled():
        return buffer[rows]
    moved = (rows != torch.arange(count, device=rows.device)).nonzero().flatten()
    if moved.numel():
        buffer[moved] = buffer[rows[moved]]
    return buffer[:count]


class Cache(Protocol):
    """Keys and values of self-attention, written in place; an argument, never the state of a module."""

    @property
    def lengths(self) -> Tensor:
        """(R,) long: the slots in use; rows may differ."""

    def write(self, layer: int, keys: Tensor, values: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        """Put (R, H, T, d) keys and values into ``step.slots``; return all of the layer's, (R, H, L, d)."""

    def read(self, layer: int) -> tuple[Tensor, Tensor]:
        """The keys and values of a layer, (R, H, longest length, d) each."""

    def select(self, rows: Tensor) -> Self:
        """The cache of ``rows`` alone, in that order. This one is spent: its storage may be reused."""

    def join(self, other: Self) -> Self:
        """The rows of both."""

    def set_lengths(self, lengths: Tensor) -> None:
        """Advance or roll back to (R,) ``lengths``."""


@dataclass(slots=True)
class Step:
    """All that a block reads beside its input x (R, T, D). A new need is a new field here, and touches no backbone.

    slots: (R or 1, T) long, where in the cache the new tokens go; one row when all rows agree. None in an encoder.
    positions: (R or 1, T) long, or None: the architecture's own rule, from the ids and the slots.
    token_types: (R, T) long or None.
    mask: (R or 1, 1, T, L) bool, True where a query may look; None: every query may look at every key.
    extent: L, the number of cache slots in use after this step; an int, so that no step waits for the device.
    memory: what cross-attention looks at; None: the cross-attention is passed over.
    cache: where self-attention keeps keys and values; None: nothing is kept, the new tokens are all there is.
    """

    slots: Tensor | None = None
    positions: Tensor | None = None
    token_types: Tensor | None = None
    mask: Tensor | None = None
    extent: int = 0
    memory: Memory | None = None
    cache: Cache | None = None
    trace: Trace | None = None


def causal_mask(slots: Tensor, extent: int, keys: Tensor | None = None) -> Tensor | None:
    """(R or 1, T) slots -> (R or 1, 1, T, L) bool: a token looks at itself and at what came before it.

    keys: (R, L) bool, True for tokens that are not padding; a padded token still looks at itself, so that no row of
    scores is empty. Returns None for one new token in the last slot of every row, which may look at everything.
    """
    if keys is None and slots.shape == (1, 1):
        return None
    places = torch.arange(extent, device=slots.device)
    mask = places <= slots[..., None]  # (R or 1, T, L)
    if keys is not None:
        mask = mask & keys[:, None, :] | (places == slots[..., None])
    return mask[:, None]


class Recorder:
    """A trace that keeps what it sees: tensors by kind, in the order of their layers."""

    def __init__(self, *kinds: str) -> None:
        self._kinds = kinds
        self._seen: dict[tuple[str, int], Tensor] = {}

    def __call__(self, kind: str, layer: int, tensor: Tensor) -> None:
        """Keep ``tensor`` if its kind is recorded."""
        if kind in self._kinds:
            self._seen[kind, layer] = tensor

    def all(self, kind: str) -> tuple[Tensor, ...] | None:
        """The tensors of one kind, or None if that kind is not recorded."""
        if kind not in self._kinds:
            return None
        return tuple(self._seen[key] for key in sorted(self._seen) if key[0] == kind)
