"""``Section``: a module and the names that its tensors have in a checkpoint.

A checkpoint consists of sections. Each has a prefix on disk ("encoder."), the module that it fills and a KeyMap that
translates the names of the module's tensors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from vedcore.storage.keymap import KeyMap, Place


@dataclass(slots=True)
class Slot:
    """A tensor of a module, all names that share it, and the place of each name on disk."""

    tensor: Tensor
    names: list[str] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Section:
    """The tensors of a checkpoint whose names start with ``prefix``, and the module that they belong to.

    without: submodules that belong to another section.
    """

    prefix: str
    module: nn.Module
    keymap: KeyMap
    without: tuple[str, ...] = ()

    def optional_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters of the submodules that a checkpoint may leave out."""
        for path in self.keymap.optional:
            if getattr(self.module, path) is not None:
                yield from self.module.get_submodule(path).parameters()

    def slots(self, *, without: Sequence[str] = ()) -> list[Slot]:
        """The parameters and persistent buffers, shared ones once. without: more submodules to leave out."""
        slots: dict[int, Slot] = {}
        left_out = tuple(f"{path}." for path in (*without, *self.without))
        for name, tensor in self.named_tensors():
            if not name.startswith(left_out):
                slot = slots.setdefault(id(tensor), Slot(tensor))
                slot.names.append(name)
                slot.places.append(self.keymap.to_theirs(name))
        return list(slots.values())

    def named_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Each parameter and persistent buffer of the module by each of its names."""
        yield from self.module.named_parameters(remove_duplicate=False)
        persistent = self.module.state_dict(keep_vars=True)
        yield from ((name, buffer) for name, buffer in self.module.named_buffers() if name in persistent)


def outputs_axis(place: Place, tensor: Tensor) -> int:
    """The axis of a tensor on disk along which several of our tensors stand side by side."""
    return -1 if place.transposed and tensor.dim() == 2 else 0
