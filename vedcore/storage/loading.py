"""Reading tensors into modules: strict, all problems in one error, and nothing changes unless everything fits."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from vedcore.errors import CheckpointError, ConfigError, foreign
from vedcore.storage.matching import Match, match
from vedcore.storage.report import LoadReport, Mismatch
from vedcore.storage.sections import Section, outputs_axis
from vedcore.storage.tensors import StoredTensor, listed, stored_tensors

COMPUTED = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
"""The types in which torch computes. Types of 8 bits and fewer are for storage."""


def load_sections(
    sections: Sequence[Section],
    folder: Path,
    *,
    allow_pickle: bool = False,
    dtype: torch.dtype | None = None,
    missing_ok: Sequence[str] = (),
    only: tuple[str, ...] | None = None,
) -> list[str]:
    """Fill the modules of ``sections`` with the weights in ``folder``.

    dtype: the type of the loaded floating-point tensors, one of ``COMPUTED``. None keeps the stored type, which must be the
        same for all parameters and one of ``COMPUTED``.
    missing_ok: prefixes of our names, without the section's prefix. The file may leave out all tensors under one of them,
        but not some of them.
    only: prefixes of names on disk. Other tensors in the file are ignored. None: the file holds the sections and no more.

    Returns the names on disk of the tensors that were left out.
    Raises CheckpointError, and fills no module, if a tensor is missing, unexpected or has another shape or type.
    """
    check_dtype(dtype)
    with stored_tensors(folder, allow_pickle=allow_pickle) as everything:
        stored = {name: tensor for name, tensor in everything.items() if only is None or name.startswith(only)}
        found = match(sections, stored, missing_ok)
        found.report.raise_if_any(folder)
        values = _read(found.matches, dtype, found.report)
        found.report.raise_if_any(folder)
    _check_types(folder, found.matches, values)
    for section, path in found.absent_parts:
        setattr(section.module, path, None)
    for entry, tensor in zip(found.matches, values, strict=True):
        _put(entry.section.module, entry.slot.names, tensor)
    for section in sections:
        _check_buffers(section)
    return found.absent


def read_parameters(
    sections: Sequence[Section], stored: Mapping[str, StoredTensor], wanted: Container[int]
) -> list[tuple[Tensor, Tensor]]:
    """Pairs of a parameter of ``sections`` whose ``id()`` is in ``wanted`` and its values in ``stored``.

    Parameters that are not in ``stored`` are left out. The modules may be on the meta device; they are not changed.
    """
    found = match(sections, stored)
    chosen = [entry for entry in found.matches if id(entry.slot.tensor) in wanted]
    return list(zip([entry.slot.tensor for entry in chosen], _read(chosen, None, found.report), strict=True))


def check_dtype(dtype: torch.dtype | None) -> None:
    """Raise ConfigError unless ``dtype`` is a type in which torch computes, or None."""
    if dtype is not None and dtype not in COMPUTED:
        raise ConfigError(
            f"dtype must be {_or(COMPUTED)}, or None for the type that is stored, got {dtype!r}",
            field="dtype",
            expected=COMPUTED,
            found=dtype,
        )


def _read(matches: Sequence[Match], dtype: torch.dtype | None, report: LoadReport) -> list[Tensor]:
    """The values for each match. Each tensor on disk is read once."""
    found: dict[int, Tensor] = {}
    whole: dict[str, Tensor] = {}
    for i, entry in sorted(enumerate(matches), key=lambda item: item[1].stored.name):
        stored, place, expected = entry.stored, entry.place, entry.slot.tensor
        if stored.name not in whole:
            whole = {stored.name: stored.read()}
        tensor = whole[stored.name]
        if expected.is_floating_point() != tensor.is_floating_point():
            message = f"{stored.file}: {stored.name} is {tensor.dtype}, expected {expected.dtype}"
            report.conflicts.append(Mismatch(stored.name, message, expected.dtype, tensor.dtype))
        if place.count > 1:
            tensor = tensor.tensor_split(place.count, dim=outputs_axis(place, tensor))[place.index]
        tensor = tensor.t() if place.transposed and tensor.dim() == 2 else tensor
        if place.reshaped is not None and tensor.numel() == expected.numel():  # others are reported
            tensor = tensor.reshape(expected.shape)
        if dtype is not None and tensor.is_floating_point():
            what = f"{stored.file}: {stored.name} is {tensor.dtype}, not made {dtype}"
            with foreign(CheckpointError, what, file=stored.file, tensor=stored.name):
                tensor = tensor.to(dtype)
        found[i] = tensor.contiguous()
    return [found[i] for i in range(len(matches))]


def _check_types(folder: Path, matches: Sequence[Match], values: Sequence[Tensor]) -> None:
    """Raise CheckpointError for parameters of two types or of a storage type: torch would fail in the middle of a pass."""
    names: dict[torch.dtype, set[str]] = {}
    for entry, tensor in zip(matches, values, strict=True):
        if isinstance(entry.slot.tensor, nn.Parameter) and tensor.is_floating_point():
            names.setdefault(tensor.dtype, set()).add(f"{entry.stored.name} in {entry.stored.file}")
    if len(names) > 1 or not names.keys() <= set(COMPUTED):
        fewest_first = sorted(names.items(), key=lambda item: (len(item[1]), str(item[0])))
        types = "; ".join(f"{len(some)} of {dtype} ({listed(sorted(some), 4)})" for dtype, some in fewest_first)
        raise CheckpointError(
            f"{folder}: the parameters are not all of one type in which torch computes: {types}. Nothing was loaded; pass "
            f"dtype= to convert all of them ({_or(COMPUTED)})",
            file=folder,
            tensor=min(fewest_first[0][1]).partition(" in ")[0],
            expected=COMPUTED,
            found=fewest_first[0][0],
        )


def _or(types: Sequence[torch.dtype]) -> str:
    *most, last = map(str, types)
    return f"{', '.join(most)} or {last}"


def _put(module: nn.Module, names: list[str], tensor: Tensor) -> None:
    owner_path, _, leaf = names[0].rpartition(".")
    owner = module.get_submodule(owner_path)
    if leaf in owner._buffers:
        owner._buffers[leaf] = tensor
        return
    previous = owner._parameters[leaf]
    parameter = nn.Parameter(tensor, requires_grad=previous is not None and previous.requires_grad)
    for name in names:
        owner_path, _, leaf = name.rpartition(".")
        module.get_submodule(owner_path)._parameters[leaf] = parameter


def _check_buffers(section: Section) -> None:
    """Raise CheckpointError for buffers still on the meta device: modules are built there before they are filled."""
    empty = [name for name, buffer in section.module.named_buffers() if buffer.is_meta]
    if empty:
        raise CheckpointError(
            f"{type(section.module).__name__}: buffers {listed(empty)} have no values after loading; "
            'make a buffer that is not in the checkpoint with device="cpu" in __init__',
            tensor=empty[0],
            expected="values",
            found="a meta tensor",
        )
