"""Reports on a checkpoint: what it holds (``inspect``), and what is wrong with it and how to fix it (``diagnose``).

    from vedcore.diagnosis import diagnose, inspect

    print(inspect("line-reader").image_size)
    for finding in diagnose("my-model"):
        print(finding.problem, finding.fix)

Both take a folder, a hub id or the name of a checkpoint that a plugin ships. Names are loaded when they are first used:
importing this package does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vedcore.diagnosis.checkpoint import ReadFailure as ReadFailure
    from vedcore.diagnosis.doctor import diagnose as diagnose
    from vedcore.diagnosis.findings import Finding as Finding
    from vedcore.diagnosis.inspection import Inspection as Inspection
    from vedcore.diagnosis.inspection import PartReport as PartReport
    from vedcore.diagnosis.inspection import inspect as inspect
    from vedcore.diagnosis.token_ids import IdEntry as IdEntry

__all__ = ["Finding", "IdEntry", "Inspection", "PartReport", "ReadFailure", "diagnose", "inspect"]

_MODULES = {
    "Finding": "findings",
    "IdEntry": "token_ids",
    "Inspection": "inspection",
    "PartReport": "inspection",
    "ReadFailure": "checkpoint",
    "diagnose": "doctor",
    "inspect": "inspection",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'vedcore.diagnosis' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"vedcore.diagnosis.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
