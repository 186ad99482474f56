"""Which tensor on disk fills which tensor of a module, and what does not fit. No values are loaded here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from vedcore.storage.keymap import Place
from vedcore.storage.report import LoadReport, Mismatch, Shape
from vedcore.storage.sections import Section, Slot
from vedcore.storage.tensors import StoredTensor

_TIED = "are tied by the config (tie_word_embeddings): set it to false to keep both, or remove one"


@dataclass(frozen=True, slots=True)
class Match:
    """A tensor of a section's module, the tensor on disk that fills it, and its place in that one."""

    section: Section
    slot: Slot
    stored: StoredTensor
    place: Place


@dataclass(slots=True)
class Matching:
    """How the tensors of a checkpoint are distributed over sections.

    absent: names on disk of tensors that may be missing and are. absent_parts: optional submodules without any tensor on
    disk. report: what does not fit.
    """

    matches: list[Match] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    absent_parts: list[tuple[Section, str]] = field(default_factory=list)
    report: LoadReport = field(default_factory=LoadReport)


def compare(sections: Sequence[Section], stored: Mapping[str, StoredTensor]) -> LoadReport:
    """How ``stored`` differs from what ``sections`` expect. The modules may be on the meta device; they are not changed."""
    return match(sections, stored).report


def match(sections: Sequence[Section], stored: Mapping[str, StoredTensor], missing_ok: Sequence[str] = ()) -> Matching:
    """Assign the tensors in ``stored`` to ``sections``.

    missing_ok: prefixes of our names; all tensors under one may be missing together.
    """
    found = Matching()
    claimed: set[str] = set()
    for section in sections:
        names = {name for name in stored if name.startswith(section.prefix)} - claimed
        claimed |= names
        _match_section(section, {name: stored[name] for name in names}, missing_ok, found)
    found.report.unexpected |= {name: tensor.shape for name, tensor in stored.items() if name not in claimed}
    return found


def _match_section(
    section: Section, stored: Mapping[str, StoredTensor], missing_ok: Sequence[str], found: Matching
) -> None:
    report = found.report
    sources = _by_canonical_name(section, stored, report)
    absent_parts = _absent_parts(section, sources)
    found.absent_parts += [(section, path) for path in absent_parts]
    slots = section.slots(without=absent_parts)
    may_miss = tuple(prefix for prefix in missing_ok if not _holds_any(slots, prefix, sources))
    shapes = _ShapesOnDisk()
    for slot in slots:
        present = [place for place in slot.places if place.name in sources]
        place = present[0] if present else slot.places[0]
        if present:
            _check_equal([sources[place.name] for place in present], _TIED, report)
            found.matches.append(Match(section, slot, sources[place.name], place))
            shapes.add(place, slot)
        elif all(name.startswith(may_miss) for name in slot.names):
            found.absent.append(section.prefix + place.name)
        else:
            shapes.add(place, slot)
    for name, expected, problem in shapes.wholes():
        if name not in sources:
            report.missing[section.prefix + name] = expected
        elif problem or expected != sources[name].shape:
            stored_name, shape = sources[name].name, sources[name].shape
            message = f"{stored_name}: {problem or f'{shape}, want {expected}'}"
            report.mismatches.append(Mismatch(stored_name, message, expected, shape))
    wanted = {place.name for slot in slots for place in slot.places}
    report.unexpected |= {tensor.name: tensor.shape for name, tensor in sources.items() if name not in wanted}


class _ShapesOnDisk:
    """The shapes of tensors on disk, each of which holds one or several of our tensors side by side."""

    def __init__(self) -> None:
        self._pieces: dict[str, tuple[Place, dict[int, Shape]]] = {}

    def add(self, place: Place, slot: Slot) -> None:
        _, shapes = self._pieces.setdefault(place.name, (place, {}))
        shapes[place.index] = place.shape_on_disk(tuple(slot.tensor.shape))

    def wholes(self) -> list[tuple[str, Shape, str]]:
        """For each name the whole shape, and a problem if the model does not have all pieces."""
        found = []
        for name, (place, shapes) in self._pieces.items():
            first = next(iter(shapes.values()))
            whole = (sum(shape[0] for shape in shapes.values()), *first[1:]) if first else ()
            whole = whole[::-1] if place.transposed and len(whole) == 2 else whole
            lacking = f"{place.count} tensors side by side, the model has {len(shapes)}"
            found.append((name, whole, lacking if len(shapes) < place.count else ""))
        return found


def _by_canonical_name(
    section: Section, stored: Mapping[str, StoredTensor], report: LoadReport
) -> dict[str, StoredTensor]:
    found: dict[str, StoredTensor] = {}
    for name, tensor in sorted(stored.items()):
        canonical = section.keymap.canonical(name.removeprefix(section.prefix))
        if canonical is None:
            continue
        if canonical in found:
            _check_equal([found[canonical], tensor], "are two spellings of one name: remove one", report)
        found[canonical] = tensor
    return found


def _check_equal(tensors: list[StoredTensor], reason: str, report: LoadReport) -> None:
    """Report tensors that stand for one tensor and hold different values: which one is meant is unknown."""
    first, *others = tensors
    for other in others:
        a, b = first.read(), other.read()
        if a.is_meta and b.is_meta:  # a check before saving reports tensors without values
            continue
        if a is not b and (a.dtype != b.dtype or not torch.equal(a, b)):
            message = f"{first.name} and {other.name} differ, but {reason}"
            report.conflicts.append(Mismatch(other.name, message, f"the values of {first.name}", "other values"))


def _absent_parts(section: Section, sources: Mapping[str, StoredTensor]) -> list[str]:
    """The optional submodules that have no tensor on disk."""
    absent = []
    for path in section.keymap.optional:
        part = section.module.get_submodule(path) if getattr(section.module, path, None) is not None else None
        if part is None:
            continue
        names = [section.keymap.to_theirs(f"{path}.{name}").name for name, _ in part.named_parameters()]
        if not any(name in sources for name in names):
            absent.append(path)
    return absent


def _holds_any(slots: Sequence[Slot], prefix: str, sources: Mapping[str, StoredTensor]) -> bool:
    """Whether a tensor all of whose names are under ``prefix`` is on disk."""
    under = [slot for slot in slots if all(name.startswith(prefix) for name in slot.names)]
    return any(place.name in sources for slot in under for place in slot.places)
