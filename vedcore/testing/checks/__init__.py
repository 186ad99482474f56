"""The laws, one function each, in levels: a backbone that breaks one level is not asked about the next.

A module a level. Inside a level a law on which another one rests comes first and is named in its ``after``: one fault gives
one failure. A check gets a Subject and raises LawBroken (or anything else) where its law does not hold.
"""

from vedcore.testing.checks import cache, contract, files, parity, shapes
from vedcore.testing.checks.base import LAWS, Check

LEVELS = tuple(module.__name__.rpartition(".")[2] for module in (contract, shapes, parity, cache, files))
"""In order; a check that fails blocks the checks of later levels, and of its own level those that come after it."""

CHECKS = {law.id: law for level in LEVELS for law in LAWS if law.level == level}

__all__ = ["CHECKS", "LEVELS", "Check"]
