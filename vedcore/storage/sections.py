"""Tensors into modules and back, through their KeyMaps: strict both ways, all that is wrong reported at once.

A checkpoint is read in sections: a prefix on disk ("encoder."), the module behind it and the KeyMap between their names.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from vedcore.errors import CheckpointError, ConfigError, foreign
from vedcore.storage.keymap import KeyMap, Place
from vedcore.storage.tensors import StoredTensor, listed, stored_tensors

COMPUTED = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
"""The types in which torch computes; those of 8 bits and fewer are for storage."""


@dataclass(frozen=True, slots=True)
class Section:
    """The part of a checkpoint whose names start with ``prefix`` on disk, and the module that it fills.

    without: submodules that are another section's.
    """

    prefix: str
    module: nn.Module
    keymap: KeyMap
    without: tuple[str, ...] = ()

    def optional_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters of the modules that a checkpoint may lack."""
        for path in self.keymap.optional:
            if getattr(self.module, path) is not None:
                yield from self.module.get_submodule(path).parameters()


@dataclass(slots=True)
class _Slot:
    """One tensor of a module with all the names that share it, and where each name lies on disk."""

    tensor: Tensor
    names: list[str] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)


@dataclass(slots=True)
class Misfit:
    """How the tensors of a folder are not what modules ask for: nothing where they are.

    missing, unexpected: names on disk. shapes: "name: shape, want shape". other: sentences.
    """

    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    shapes: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)

    def told(self) -> list[str]:
        """A line for each kind of misfit that there is."""
        kinds = (
            ("missing", self.missing),
            ("unexpected", self.unexpected),
            ("of another shape", self.shapes),
        )
        return [f"{len(found)} {kind} ({listed(sorted(found), 30)})" for kind, found in kinds if found] + self.other

    def raise_if_any(self, folder: Path) -> None:
        """CheckpointError with all of it."""
        if told := self.told():
            raise CheckpointError(
                f"{folder}: the weights are not what config.json asks for: {'; '.join(told)}. Nothing was loaded; "
                "is config.json the one that belongs to these weights?"
            )


@dataclass(slots=True)
class _Plan:
    """What goes where: each slot that the file fills, the names on disk that it may lack, and the modules that it lacks."""

    filled: list[tuple[Section, _Slot, StoredTensor, Place]] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    absent_parts: list[tuple[Section, str]] = field(default_factory=list)
    misfit: Misfit = field(default_factory=Misfit)


def compare(sections: Sequence[Section], stored: Mapping[str, StoredTensor]) -> Misfit:
    """How ``stored`` is not what the modules of ``sections`` ask for; they may be without storage, and stay as they are."""
    return _plan(sections, stored).misfit


def read_parameters(
    sections: Sequence[Section], stored: Mapping[str, StoredTensor], wanted: Container[int]
) -> list[tuple[Tensor, Tensor]]:
    """Parameters of ``sections``, and their values in ``stored``: those of an ``id()`` in ``wanted`` that are there.

    The modules may be without storage, and stay as they are.
    """
    plan = _plan(sections, stored)
    chosen = [entry for entry in plan.filled if id(entry[1].tensor) in wanted]
    return list(zip([slot.tensor for _, slot, _, _ in chosen], _read(chosen, None, plan.misfit), strict=True))


def load_sections(
    sections: Sequence[Section],
    folder: Path,
    *,
    allow_pickle: bool = False,
    dtype: torch.dtype | None = None,
    missing_ok: Sequence[str] = (),
    only: tuple[str, ...] | None = None,
) -> list[str]:
    """Fill the modules of ``sections`` with the weights in ``folder``, or raise CheckpointError and fill none.

    dtype: of the loaded floating-point tensors, as ``check_dtype`` has it; None keeps the type in which they are stored,
        which has to be one for all parameters, and one in which torch computes.
    missing_ok: prefixes of our names (behind the section's prefix); the file may lack all that is under one, but not a part
        of it. Returned are the names on disk that it did lack.
    only: prefixes on disk; the file may hold what else it will, and it is not read. None: it holds the sections alone.
    """
    check_dtype(dtype)
    with stored_tensors(folder, allow_pickle=allow_pickle) as everything:
        stored = {name: tensor for name, tensor in everything.items() if only is None or name.startswith(only)}
        plan = _plan(sections, stored, missing_ok)
        plan.misfit.raise_if_any(folder)
        values = _read(plan.filled, dtype, plan.misfit)
        plan.misfit.raise_if_any(folder)
    _check_types(folder, plan, values)
    for section, path in plan.absent_parts:
        setattr(section.module, path, None)
    for (section, slot, _, _), tensor in zip(plan.filled, values, strict=True):
        _put(section.module, slot.names, tensor)
    for section in sections:
        _check_buffers(section)
    return plan.absent


def check_dtype(dtype: torch.dtype | None) -> None:
    """ConfigError unless ``dtype`` is a type in which torch computes, or None."""
    if dtype is not None and dtype not in COMPUTED:
        raise ConfigError(f"dtype must be {_or(COMPUTED)}, or None for the type that is stored, got {dtype!r}")


def _plan(sections: Sequence[Section], stored: Mapping[str, StoredTensor], missing_ok: Sequence[str] = ()) -> _Plan:
    plan, problems = _Plan(), Misfit()
    claimed: set[str] = set()
    for section in sections:
        names = {name for name in stored if name.startswith(section.prefix)} - claimed
        claimed |= names
        sources = _by_canonical_name(section, {name: stored[name] for name in names}, problems)
        lacking = _absent_parts(section, sources)
        plan.absent_parts += [(section, path) for path in lacking]
        wanted: dict[str, None] = {}
        slots = _slots(section, without=lacking)
        free = tuple(prefix for prefix in missing_ok if not _holds_any(slots, prefix, sources))
        for slot in slots:
            found = [place for place in slot.places if place.name in sources]
            wanted |= dict.fromkeys(place.name for place in slot.places)
            if not found:
                allowed = all(name.startswith(free) for name in slot.names)
                (plan.absent if allowed else problems.missing).append(section.prefix + slot.places[0].name)
                continue
            if len(found) > 1:
                _same([sources[place.name] for place in found], _TIED, problems)
            plan.filled.append((section, slot, sources[found[0].name], found[0]))
        problems.unexpected += [sources[name].name for name in sources if name not in wanted]
        problems.shapes += _shape_problems([(s, p, t) for owner, s, t, p in plan.filled if owner is section])
    problems.unexpected += [name for name in stored if name not in claimed]
    problems.missing = list(dict.fromkeys(problems.missing))
    plan.misfit = problems
    return plan


def save_sections(sections: Sequence[Section]) -> dict[str, Tensor]:
    """The tensors of ``sections`` as they stand on disk: shared ones once, in the layouts of the published format."""
    tensors: dict[str, Tensor] = {}
    for section in sections:
        pieces: dict[str, dict[int, Tensor]] = {}
        axes: dict[str, int] = {}
        for slot in _slots(section):
            place = slot.places[0]
            tensor = slot.tensor.detach()
            axes[place.name] = _outputs(place, tensor)
            pieces.setdefault(place.name, {})[place.index] = (
                tensor.t() if place.transposed and tensor.dim() == 2 else tensor
            )
        for name, parts in pieces.items():
            ordered = [parts[index] for index in sorted(parts)]
            tensors[section.prefix + name] = ordered[0] if len(ordered) == 1 else torch.cat(ordered, dim=axes[name])
    return tensors


def _outputs(place: Place, tensor: Tensor) -> int:
    """The axis of a tensor on disk along which several of ours stand side by side."""
    return -1 if place.transposed and tensor.dim() == 2 else 0


def _by_canonical_name(
    section: Section, stored: Mapping[str, StoredTensor], problems: Misfit
) -> dict[str, StoredTensor]:
    found: dict[str, StoredTensor] = {}
    for name, tensor in sorted(stored.items()):
        canonical = section.keymap.canonical(name.removeprefix(section.prefix))
        if canonical is None:
            continue
        if canonical in found:
            _same([found[canonical], tensor], "are two spellings of one name: remove one", problems)
        found[canonical] = tensor
    return found


_TIED = "are tied by the config (tie_word_embeddings): set it to false to keep both, or remove one"


def _same(tensors: list[StoredTensor], reason: str, problems: Misfit) -> None:
    """One tensor under several names must be one tensor: which of two different ones is meant, nobody can say."""
    first, *others = tensors
    for other in others:
        a, b = first.read(), other.read()
        if a.dtype != b.dtype or not torch.equal(a, b):
            problems.other.append(f"{first.name} and {other.name} differ, but {reason}")


def _absent_parts(section: Section, sources: Mapping[str, StoredTensor]) -> list[str]:
    """The optional modules that have no tensor on disk."""
    absent = []
    for path in section.keymap.optional:
        part = section.module.get_submodule(path) if getattr(section.module, path, None) is not None else None
        if part is None:
            continue
        names = [section.keymap.to_theirs(f"{path}.{name}").name for name, _ in part.named_parameters()]
        if not any(name in sources for name in names):
            absent.append(path)
    return absent


def _holds_any(slots: Sequence[_Slot], prefix: str, sources: Mapping[str, StoredTensor]) -> bool:
    """Whether a tensor that is under ``prefix`` by all of its names is on disk."""
    under = [slot for slot in slots if all(name.startswith(prefix) for name in slot.names)]
    return any(place.name in sources for slot in under for place in slot.places)


def _slots(section: Section, without: Sequence[str] = ()) -> list[_Slot]:
    """The tensors of a section, shared ones once, but for those of the modules ``without``."""
    slots: dict[int, _Slot] = {}
    module = section.module
    parameters = list(module.named_parameters(remove_duplicate=False))
    buffers = [(name, buffer) for name, buffer in module.named_buffers() if name in module.state_dict(keep_vars=True)]
    for name, tensor in parameters + buffers:
        if name.startswith(tuple(f"{path}." for path in (*without, *section.without))):
            continue
        slot = slots.setdefault(id(tensor), _Slot(tensor))
        slot.names.append(name)
        slot.places.append(section.keymap.to_theirs(name))
    return list(slots.values())


def _shape_problems(filled: list[tuple[_Slot, Place, StoredTensor]]) -> list[str]:
    """Tensors on disk that are not what our tensors in them would make side by side."""
    expected: dict[str, dict[int, tuple[int, ...]]] = {}
    found: dict[str, StoredTensor] = {}
    layout: dict[str, Place] = {}
    for slot, place, tensor in filled:
        expected.setdefault(place.name, {})[place.index] = tuple(slot.tensor.shape)
        found[place.name], layout[place.name] = tensor, place
    problems = []
    for name, shapes in expected.items():
        if len(shapes) < layout[name].count:
            problems.append(
                f"{found[name].name}: {layout[name].count} tensors side by side, the model has {len(shapes)}"
            )
            continue
        whole = (sum(shape[0] for shape in shapes.values()), *shapes[0][1:]) if shapes[0] else ()
        whole = whole[::-1] if layout[name].transposed and len(whole) == 2 else whole
        if whole != found[name].shape:
            problems.append(f"{found[name].name}: {found[name].shape}, want {whole}")
    return problems


def _read(
    plan: Sequence[tuple[Section, _Slot, StoredTensor, Place]], dtype: torch.dtype | None, problems: Misfit
) -> list[Tensor]:
    """The values for each slot of ``plan``; each tensor on disk is read once."""
    found: dict[int, Tensor] = {}
    whole: dict[str, Tensor] = {}
    for i, (_, slot, stored, place) in sorted(enumerate(plan), key=lambda item: item[1][2].name):
        if stored.name not in whole:
            whole = {stored.name: stored.read()}
        tensor = whole[stored.name]
        if slot.tensor.is_floating_point() != tensor.is_floating_point():
            problems.other.append(f"{stored.file}: {stored.name} is {tensor.dtype}, expected {slot.tensor.dtype}")
        if place.count > 1:
            tensor = tensor.tensor_split(place.count, dim=_outputs(place, tensor))[place.index]
        tensor = tensor.t() if place.transposed and tensor.dim() == 2 else tensor
        if dtype is not None and tensor.is_floating_point():
            with foreign(CheckpointError, f"{stored.file}: {stored.name} is {tensor.dtype}, not made {dtype}"):
                tensor = tensor.to(dtype)
        found[i] = tensor.contiguous()
    problems.other = list(dict.fromkeys(problems.other))
    return [found[i] for i in range(len(plan))]


def _check_types(folder: Path, plan: _Plan, values: Sequence[Tensor]) -> None:
    """Parameters of two types, or of one for storage, would be an error of torch's in the middle of a pass."""
    names: dict[torch.dtype, set[str]] = {}
    for (_, slot, stored, _), tensor in zip(plan.filled, values, strict=True):
        if isinstance(slot.tensor, nn.Parameter) and tensor.is_floating_point():
            names.setdefault(tensor.dtype, set()).add(f"{stored.name} in {stored.file}")
    if len(names) > 1 or not names.keys() <= set(COMPUTED):
        fewest_first = sorted(names.items(), key=lambda item: (len(item[1]), str(item[0])))
        told = "; ".join(f"{len(some)} of {dtype} ({listed(sorted(some), 4)})" for dtype, some in fewest_first)
        raise CheckpointError(
            f"{folder}: tensors of types that are not computed with as they are: {told}. Nothing was loaded; pass dtype= "
            f"to bring all to one type ({_or(COMPUTED)})"
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
    """A part is built without storage before it is filled; a buffer that no file holds must say its own device."""
    empty = [name for name, buffer in section.module.named_buffers() if buffer.is_meta]
    if empty:
        raise CheckpointError(
            f"{type(section.module).__name__}: buffers {listed(empty)} have no values after loading; "
            'make a buffer that is not in the checkpoint with device="cpu" in __init__'
        )
