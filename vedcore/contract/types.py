"""The values that pass between an encoder, an adapter, a decoder and the generation loop.

Shapes: B images, R rows of text (B times the beams, or any number), T new tokens, L keys in use, S encoder states, D hidden
size, H heads, d head width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, Self, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

Trace = Callable[[str, int, Tensor], None]
"""Called as ``trace(kind, layer, tensor)`` with the intermediate values of a pass.

``"hidden"``: (R, T, D); layer 0 is the input of the first block, layer n the output of block n.
``"self"``, ``"cross"``: attention probabilities (R, H, T, L) and (R, H, T, S). Without a trace they are not computed.
"""


class Batch(dict[str, Any]):
    """A mapping whose keys are attributes too: ``processor(image).pixel_values``, ``model(**batch)``."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"no {name!r} here; this batch holds {', '.join(self) or 'nothing'}") from None

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with its tensors on ``device``."""
        return Batch({k: v.to(device) if isinstance(v, Tensor) else v for k, v in self.items()})


class Output:
    """A dataclass of results that is also a mapping of the fields that are not None, and a sequence of their values.

    It behaves as transformers' ModelOutput: ``"loss" in output``, ``output["loss"]``, ``output[0]``, ``dict(output)``.
    """

    __slots__ = ()

    def keys(self) -> tuple[str, ...]:
        """The names of the fields that are not None, in order."""
        return tuple(field.name for field in fields(self) if getattr(self, field.name) is not None)  # type: ignore[arg-type]

    def values(self) -> tuple[Any, ...]:
        """The values of the fields that are not None, in order."""
        return tuple(getattr(self, name) for name in self.keys())

    def items(self) -> tuple[tuple[str, Any], ...]:
        """The names and values of the fields that are not None, in order."""
        return tuple(zip(self.keys(), self.values(), strict=True))

    def to_tuple(self) -> tuple[Any, ...]:
        """The values of the fields that are not None, in order."""
        return self.values()

    def __getitem__(self, key: int | slice | str) -> Any:
        """The value at a position among the fields that are not None, or of a name. Raises KeyError for an unknown name."""
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
    """The states that an encoder computes from B images.

    states: (B, S, D). mask: (B, S) bool, True where a state belongs to the image and not to padding; None means everywhere.
    grid: (h, w) if the states after the first ``extra`` ones (class token, distillation token) are a grid of patches, row by
    row.
    """

    states: Tensor
    mask: Tensor | None = None
    grid: tuple[int, int] | None = None
    extra: int = 0


@dataclass(slots=True)
class Memory:
    """The cross-attention keys and values of B images: computed once per image, never repeated for its beams.

    layers: for each cross-attention layer keys and values, each (B, H, S, d). mask: (B, S) bool or None.
    rows: (R,) long, the image that each row attends to; None means R / B consecutive rows per image.
    """

    layers: tuple[tuple[Tensor, Tensor], ...]
    mask: Tensor | None = None
    rows: Tensor | None = None

    @property
    def images(self) -> int:
        """B."""
        return self.layers[0][0].shape[0]

    def select(self, images: Tensor) -> Memory:
        """The memory of only the ``images`` (long, (B',)), in that order. This object must not be used afterwards.

        In inference mode the storage of this memory is reused.
        """
        layers = tuple((take(keys, images), take(values, images)) for keys, values in self.layers)
        return Memory(layers, None if self.mask is None else self.mask[images])  # the mask may belong to the caller

    def for_rows(self, images: Tensor) -> Memory:
        """The memory for rows that attend to ``images`` (long, (R,)). This object must not be used afterwards.

        Images that no row attends to are dropped. Rows of one image that follow each other share its keys without a copy.
        """
        runs, counts = torch.unique_consecutive(images, return_counts=True)
        is_regular = bool((counts == counts[0]).all()) and len(torch.unique(runs)) == len(runs)
        if is_regular:
            return self.select(runs)
        used, rows = torch.unique(images, return_inverse=True)
        memory = self.select(used)
        return Memory(memory.layers, memory.mask, rows)

    def join(self, other: Memory) -> Memory:
        """The images of both memories. If they have different numbers of states, the shorter one is padded and masked.

        If either memory has ``rows``, the other must have ``rows`` too, or exactly one row per image.
        """
        sizes = [memory.layers[0][0].shape[2] for memory in (self, other)]
        longest = max(sizes)

        def pad(tensor: Tensor) -> Tensor:
            return torch.nn.functional.pad(tensor, (0, 0, 0, longest - tensor.shape[2]))

        layers = tuple(
            (torch.cat([pad(a), pad(b)]), torch.cat([pad(c), pad(d)]))
            for (a, c), (b, d) in zip(self.layers, other.layers, strict=True)
        )
        rows = None
        if self.rows is not None or other.rows is not None:
            rows = torch.cat([_rows(self), _rows(other) + self.images])
        if sizes[0] == sizes[1] and self.mask is None and other.mask is None:
            return Memory(layers, None, rows)
        return Memory(layers, torch.cat([_full_mask(memory, longest) for memory in (self, other)]), rows)


def _rows(memory: Memory) -> Tensor:
    if memory.rows is not None:
        return memory.rows
    return torch.arange(memory.images, device=memory.layers[0][0].device)


def _full_mask(memory: Memory, longest: int) -> Tensor:
    keys = memory.layers[0][0]
    mask = memory.mask if memory.mask is not None else keys.new_ones(keys.shape[0], keys.shape[2], dtype=torch.bool)
    return torch.nn.functional.pad(mask, (0, longest - mask.shape[1]))


def take(buffer: Tensor, rows: Tensor) -> Tensor:
    """``buffer[rows]``; in inference mode it reuses the storage of ``buffer`` if that is large enough.

    Only rows that change their place are copied, so dropping a row from a large batch costs one copy, not a copy of all.
    """
    count = rows.shape[0]
    if count > buffer.shape[0] or not torch.is_inference_mode_enabled():
        return buffer[rows]
    moved = (rows != torch.arange(count, device=rows.device)).nonzero().flatten()
    if moved.numel():
        buffer[moved] = buffer[rows[moved]]
    return buffer[:count]


class Cache(Protocol):
    """The keys and values of self-attention, as an attention layer uses them: an argument, never the state of a module."""

    def write(self, layer: int, keys: Tensor, values: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        """Put (R, H, T, d) keys and values into ``step.slots``; return all keys and values of the layer, (R, H, L, d)."""

    def read(self, layer: int) -> tuple[Tensor, Tensor]:
        """The keys and values of a layer, (R, H, longest length, d) each."""


class RowCache(Cache, Protocol):
    """A cache as generation uses it: rows have lengths of their own, they join, leave and change places."""

    @property
    def lengths(self) -> Tensor:
        """(R,) long: the number of slots in use in each row."""

    def set_lengths(self, lengths: Tensor) -> None:
        """Advance or roll back to (R,) ``lengths``."""

    def reserve(self, extent: int) -> None:
        """Make room for ``extent`` slots in each row."""

    def select(self, rows: Tensor) -> Self:
        """The cache of only the ``rows``, in that order; rows may repeat. This object must not be used afterwards."""

    def join(self, other: Self) -> Self:
        """The rows of both. Neither of the two may be used afterwards."""


@dataclass(slots=True)
class Step:
    """All that a block reads besides its input x (R, T, D). A new need becomes a new field here; no backbone changes.

    slots: (R or 1, T) long, the cache slots of the new tokens; one row if all rows agree. None in an encoder.
    positions: (R or 1, T) long, or None: the architecture derives them from the ids and the slots.
    token_types: (R, T) long or None.
    mask: (R or 1, 1, T, L) bool, True where a query may attend to a key; None: every query attends to every key.
    extent: L, the number of cache slots in use after this step; an int, so that no step waits for the device.
    memory: what cross-attention attends to; None: cross-attention is skipped.
    cache: where self-attention keeps keys and values; None: nothing is kept, the keys are those of the new tokens.
    trace: called with hidden states and attention probabilities, or None.
    shared: the values of ``once``. ``dataclasses.replace`` hands the same dict to a copy.
    """

    slots: Tensor | None = None
    positions: Tensor | None = None
    token_types: Tensor | None = None
    mask: Tensor | None = None
    extent: int = 0
    memory: Memory | None = None
    cache: Cache | None = None
    trace: Trace | None = None
    shared: dict[str, Any] = field(default_factory=dict)

    def once(self, name: str, compute: Callable[[], T]) -> T:
        """``compute()``, which is called once in this step: what all layers of a backbone read, such as rotary angles.

        name: of the value among those of the backbone. It must not depend on the layer.
        """
        if name not in self.shared:
            self.shared[name] = compute()
        return self.shared[name]  # type: ignore[no-any-return]


def causal_mask(slots: Tensor, extent: int, keys: Tensor | None = None) -> Tensor | None:
    """(R or 1, T) slots -> (R or 1, 1, T, L) bool: a token attends to itself and to the tokens before it.

    keys: (R, L) bool, False for padding. A padding token still attends to itself, so that no row of scores is empty.
    Returns None for one new token in the last slot of every row, which attends to every key.
    """
    if keys is None and slots.shape == (1, 1):
        return None
    places = torch.arange(extent, device=slots.device)
    mask = places <= slots[..., None]  # (R or 1, T, L)
    if keys is not None:
        mask = mask & keys[:, None, :] | (places == slots[..., None])
    return mask[:, None]


class Recorder:
    """A trace that keeps the tensors of some kinds, in the order of their layers."""

    def __init__(self, *kinds: str) -> None:
        self._kinds = kinds
        self._seen: dict[tuple[str, int], Tensor] = {}

    def __call__(self, kind: str, layer: int, tensor: Tensor) -> None:
        """Keep ``tensor`` if its kind is recorded."""
        if kind in self._kinds:
            self._seen[kind, layer] = tensor

    def all(self, kind: str) -> tuple[Tensor, ...] | None:
        """The tensors of one kind by layer, or None if that kind is not recorded."""
        if kind not in self._kinds:
            return None
        return tuple(self._seen[key] for key in sorted(self._seen) if key[0] == kind)
