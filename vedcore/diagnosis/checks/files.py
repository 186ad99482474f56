"""Check of the files: each one exists and can be read."""

from __future__ import annotations

from vedcore.diagnosis.checkpoint import OpenedCheckpoint
from vedcore.diagnosis.checks.repairs import repair
from vedcore.diagnosis.findings import Finding, Findings


def files_are_readable(checkpoint: OpenedCheckpoint) -> Findings:
    """Every file exists, has the format of its name, and holds valid values."""
    for failure in checkpoint.failures:
        yield Finding("error", failure.what, failure.reason, repair(checkpoint, failure.what))
