"""The import paths of earlier releases: modules and names that have moved are still found where they were."""

from __future__ import annotations

import importlib
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any

_SAME_NAME = {
    "contract": ("hookspecs", "protocols", "types"),
    "model": ("adapters", "compose", "labels", "loss", "vocabulary"),
    "storage": ("files", "hub", "keymap"),
}
MODULES = {f"vedcore.{name}": f"vedcore.{package}.{name}" for package, names in _SAME_NAME.items() for name in names}
MODULES |= {"vedcore.parts": "vedcore.model.groups"}
MODULES |= dict.fromkeys(("vedcore.doctor", "vedcore.inspection"), "vedcore.diagnosis")
NAMES = {"vedcore.nn": {"Part": "vedcore.part"}}


class _MovedModules(MetaPathFinder, Loader):
    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MODULES else None

    def exec_module(self, module: Any) -> None:
        # Python returns from an import what the module has put into sys.modules in its own place.
        sys.modules[module.__name__] = importlib.import_module(MODULES[module.__name__])


finder = _MovedModules()


def moved_name(module: str, name: str) -> Any:
    """What ``name`` of ``module`` is today, for the ``__getattr__`` of a module that has lost it."""
    if name not in NAMES[module]:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    return getattr(importlib.import_module(NAMES[module][name]), name)
