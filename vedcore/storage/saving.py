"""From modules to the tensors of a checkpoint, checked against what loading will expect."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor, nn

from vedcore.errors import SaveError
from vedcore.storage.keymap import KeyMap
from vedcore.storage.matching import match
from vedcore.storage.report import LoadReport, Mismatch
from vedcore.storage.sections import Section, outputs_axis
from vedcore.storage.tensors import StoredTensor


def tensors_to_write(sections: Sequence[Section]) -> dict[str, Tensor]:
    """The tensors of ``sections`` by their names on disk and in the layouts of the published format; shared ones once."""
    tensors: dict[str, Tensor] = {}
    for section in sections:
        pieces: dict[str, dict[int, Tensor]] = {}
        axes: dict[str, int] = {}
        for slot in section.slots():
            place = slot.places[0]
            tensor = slot.tensor.detach()
            tensor = tensor.reshape(place.shape_on_disk(tuple(tensor.shape)))
            axes[place.name] = outputs_axis(place, tensor)
            pieces.setdefault(place.name, {})[place.index] = (
                tensor.t() if place.transposed and tensor.dim() == 2 else tensor
            )
        for name, parts in pieces.items():
            ordered = [parts[index] for index in sorted(parts)]
            tensors[section.prefix + name] = ordered[0] if len(ordered) == 1 else torch.cat(ordered, dim=axes[name])
    return tensors


class HasSections(Protocol):
    """A part or a whole model: a module that lists its sections."""

    def sections(self) -> list[Section]:
        """How the module is stored in a checkpoint."""

    def named_modules(self) -> Iterator[tuple[str, nn.Module]]:
        """Each submodule with its path."""


def check_loadable(model: HasSections, reference: HasSections, folder: str | os.PathLike[str]) -> None:
    """Raise SaveError unless what ``model`` would write to ``folder`` can be loaded again.

    reference: the module that loading builds from the config, on the meta device. Both must have tensors of the same names
    and shapes, with the same ties. An optional submodule may be None in ``model``. Nothing is written or changed.
    """
    report = difference(model, reference)
    if lines := report.lines():
        raise SaveError(
            f"{folder}: {type(model).__name__} is not saved, because it could not be loaded again. Its tensors are not those "
            f"that its config describes: {'; '.join(lines)}. Merge or unwrap layers that were replaced (quantized, packed, "
            "LoRA, compiled). To change sizes, call resize_token_embeddings or prune_heads, which change the config too",
            file=folder,
            **report.first(),
        )


def difference(model: HasSections, reference: HasSections) -> LoadReport:
    """How the tensors of ``model`` differ from those of ``reference``, by their names in the model."""
    slots = [(section.prefix, slot) for section in _by_model_names(model) for slot in section.slots()]
    tensors = {prefix + name: slot.tensor for prefix, slot in slots for name in slot.names}
    found = match(_by_model_names(reference), {name: _as_stored(name, tensor) for name, tensor in tensors.items()})
    expected = {e.section.prefix + name: e.slot.tensor for e in found.matches for name in e.slot.names}
    for prefix, slot in slots:
        names = [prefix + name for name in slot.names if prefix + name in expected]
        if names and (conflict := _conflict(names, slot.tensor, [expected[name] for name in names])):
            found.report.conflicts.append(conflict)
    return found.report


def _by_model_names(model: HasSections) -> list[Section]:
    """The sections of ``model``, with the names that its tensors have in the model in place of those on disk."""
    paths = {id(module): f"{path}." if path else "" for path, module in model.named_modules()}
    sections = [
        replace(
            section,
            prefix=paths.get(id(section.module), section.prefix),
            keymap=KeyMap(rules=(), optional=section.keymap.optional),
        )
        for section in model.sections()
    ]
    # The longest prefix first: layers that an adapter inserted are a section inside the decoder's.
    return sorted(sections, key=lambda section: -len(section.prefix))


def _as_stored(name: str, tensor: Tensor) -> StoredTensor:
    return StoredTensor(name, "the model", tuple(tensor.shape), lambda: tensor)


def _conflict(names: list[str], tensor: Tensor, expected: list[Tensor]) -> Mismatch | None:
    """Why a tensor of the expected shape cannot be written for ``expected``, if it cannot."""
    name, wanted = names[0], expected[0]
    if len({id(each) for each in expected}) > 1:
        message = (
            f"{' and '.join(names)} are one tensor, but the config describes {len(names)}: give each its own values"
        )
        return Mismatch(names[1], message, "a tensor of its own", f"the tensor {name}")
    if type(tensor) not in (Tensor, nn.Parameter) or tensor.layout != torch.strided or tensor.is_quantized:
        kind = f"{type(tensor).__name__} ({tensor.layout}, {tensor.dtype})"
        return Mismatch(name, f"{name} is a {kind}, expected a plain dense tensor", "a plain dense tensor", kind)
    if tensor.is_meta:
        return Mismatch(name, f"{name} has no values: it is on the meta device", "values", "a meta tensor")
    if tensor.is_floating_point() != wanted.is_floating_point():
        return Mismatch(name, f"{name} is {tensor.dtype}, expected {wanted.dtype}", wanted.dtype, tensor.dtype)
    return None
