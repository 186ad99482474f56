"""``LoadReport``: how a set of tensors differs from what modules expect."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vedcore.errors import CheckpointError
from vedcore.storage.tensors import listed

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A tensor with another shape or type than expected, or the description of another conflict."""

    tensor: str
    message: str
    expected: Any = None
    found: Any = None


@dataclass(slots=True)
class LoadReport:
    """How tensors differ from what modules expect. A report without entries means that they fit.

    missing: expected tensors that are not there, with the expected shapes. unexpected: tensors that no module expects, with
    their shapes. mismatches: tensors of another shape. conflicts: everything else, such as two different values for tied
    weights.
    """

    missing: dict[str, Shape] = field(default_factory=dict)
    unexpected: dict[str, Shape] = field(default_factory=dict)
    mismatches: list[Mismatch] = field(default_factory=list)
    conflicts: list[Mismatch] = field(default_factory=list)

    @property
    def shapes(self) -> list[str]:
        """A line for each tensor of another shape: "name: found, want expected"."""
        return [mismatch.message for mismatch in self.mismatches]

    @property
    def other(self) -> list[str]:
        """A sentence for each conflict, each once."""
        return list(dict.fromkeys(conflict.message for conflict in self.conflicts))

    def lines(self) -> list[str]:
        """A line for each kind of difference that occurs, and one for each conflict."""
        kinds: dict[str, list[str]] = {
            "missing": sorted(self.missing),
            "unexpected": sorted(self.unexpected),
            "of another shape": sorted(self.shapes),
        }
        return [f"{len(names)} {kind} ({listed(names, 30)})" for kind, names in kinds.items() if names] + self.other

    def first(self) -> dict[str, Any]:
        """The first difference as attributes of an error: ``tensor``, ``expected`` and ``found``. There must be one."""
        for mismatch in (*self.mismatches, *self.conflicts):
            return {"tensor": mismatch.tensor, "expected": mismatch.expected, "found": mismatch.found}
        for name in sorted(self.missing):
            return {"tensor": name, "expected": self.missing[name]}
        name = min(self.unexpected)
        return {"tensor": name, "found": self.unexpected[name]}

    def raise_if_any(self, folder: Path) -> None:
        """Raise CheckpointError with all differences, if there are any."""
        if lines := self.lines():
            raise CheckpointError(
                f"{folder}: the weights are not what config.json asks for: {'; '.join(lines)}. Nothing was loaded; "
                "is config.json the one that belongs to these weights?",
                file=folder,
                **self.first(),
            )
