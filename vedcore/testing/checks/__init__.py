"""The laws, one function each, in levels. If a level has a failure, the later levels do not run.

Each module is a level. A law that depends on another of its level comes after it and names it in ``after``, so that one
fault gives one failure. A check takes a Subject and raises LawBroken (or any other error) if its law does not hold.
"""

from vedcore.testing.checks import cache, contract, files, parity, shapes
from vedcore.testing.checks.base import LAWS, Check

LEVELS = tuple(module.__name__.rpartition(".")[2] for module in (contract, shapes, parity, cache, files))
"""In order. A failed check blocks all later levels, and the checks of its own level that name it in ``after``."""

CHECKS = {law.id: law for level in LEVELS for law in LAWS if law.level == level}

__all__ = ["CHECKS", "LEVELS", "Check"]
