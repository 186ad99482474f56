"""``Finding``: one problem of a checkpoint with its fix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem and its fix.

    severity: "error" if the model cannot write text or writes wrong text, "warning" if the setting is probably a mistake.
    concern: "config", "weights", "image processor", "tokenizer", "ids", "generation", "vedcore.json", "dry run" or "data".
    """

    severity: Severity
    concern: str
    problem: str
    fix: str


Findings = Iterator[Finding]
