"""KeyMap: the names and layouts of a published checkpoint, and ours, as data that is read both ways.

Ours are the names of the module's parameters; theirs are the names on disk. A rule maps a dotted prefix, ``{i}`` stands for
a number, ``{path}`` for any dotted path; what comes after the prefix (``.weight``, ``.bias``) stays.

    Rule("encoder.layer.{i}.attention.attention.query", "blocks.{i}.attention.query")     a rename
    Rule("h.{i}.mlp.c_fc", "blocks.{i}.mlp.up", transposed=True)                           [in, out] on disk
    Rule("h.{i}.attn.c_attn", "blocks.{i}.attention.query", "...key", "...value", ...)     several of ours side by side in one
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property


class Rule:
    """``theirs`` on disk is ``ours`` here: one name, or several whose outputs stand side by side in one tensor on disk.

    transposed: matrices are [in, out] on disk and [out, in] here (GPT-2's Conv1D).
    """

    __slots__ = ("ours", "theirs", "transposed")

    def __init__(self, theirs: str, *ours: str, transposed: bool = False) -> None:
        self.theirs, self.ours, self.transposed = theirs, ours, transposed


@dataclass(frozen=True, slots=True)
class Place:
    """Where one of our tensors lies on disk: in the tensor ``name``, piece ``index`` of ``count``, maybe transposed."""

    name: str
    index: int = 0
    count: int = 1
    transposed: bool = False


@dataclass(frozen=True)
class KeyMap:
    """How the checkpoint of one architecture is read and written.

    rules: tried in order; a name that no rule maps is the same on both sides.
    aliases: (other name, canonical name) prefixes that are read too and never written: newer and older spellings. Tried in
        order, each on the outcome of the one before.
    dropped: prefixes of tensors on disk that carry nothing: stray buffers, heads for other tasks.
    optional: our modules that a checkpoint may lack; the module becomes None then.
    prefixes: what may stand before each name in a file that holds this part alone ("vit.").
    """

    rules: tuple[Rule, ...]
    aliases: tuple[tuple[str, str], ...] = ()
    dropped: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()

    def canonical(self, name: str) -> str | None:
        """The name on disk by which ``name`` goes in our rules; None if the tensor carries nothing."""
        for prefix in self.prefixes:
            if name.startswith(prefix):
                name = name.removeprefix(prefix)
                break
        if any(_substitute(pattern, "", name) is not None for pattern in self._dropped):
            return None
        for pattern, replacement in self._aliases:
            found = _substitute(pattern, replacement, name)
            name = name if found is None else found
        if any(_substitute(pattern, "", name) is not None for pattern in self._dropped):
            return None
        return name

    def to_theirs(self, name: str) -> Place:
        """Where our parameter ``name`` lies on disk."""
        for pattern, rule, index in self._outward:
            found = _substitute(pattern, rule.theirs, name)
            if found is not None:
                return Place(found, index, len(rule.ours), rule.transposed)
        return Place(name)

    @cached_property
    def _outward(self) -> list[tuple[re.Pattern[str], Rule, int]]:
        return [(_pattern(ours), rule, i) for rule in self.rules for i, ours in enumerate(rule.ours)]

    @cached_property
    def _aliases(self) -> list[tuple[re.Pattern[str], str]]:
        return [(_pattern(other), canonical) for other, canonical in self.aliases]

    @cached_property
    def _dropped(self) -> list[re.Pattern[str]]:
        return [_pattern(name) for name in self.dropped]


_HOLE = re.compile(r"\{(\w+)\}")


def _pattern(prefix: str) -> re.Pattern[str]:
    """``{i}`` (any one letter) matches a number, a longer word a dotted path."""
    parts = _HOLE.split(prefix)
    body = "".join(
        re.escape(part) if i % 2 == 0 else f"(?P<{part}>{r'[0-9]+' if len(part) == 1 else '.+'})"
        for i, part in enumerate(parts)
    )
    return re.compile(rf"{body}(?P<_rest>\..*)?")


def _substitute(pattern: re.Pattern[str], replacement: str, name: str) -> str | None:
    match = pattern.fullmatch(name)
    if match is None:
        return None
    return _HOLE.sub(lambda hole: match.group(hole[1]), replacement) + (match["_rest"] or "")
