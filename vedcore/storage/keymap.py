"""``KeyMap``: the relation between the tensor names of a published checkpoint and ours, as data for loading and saving.

Our names are those of the module's parameters; their names are those on disk. A rule maps a dotted prefix and keeps what
comes after it (``.weight``, ``.bias``). In a prefix ``{i}`` stands for a number and ``{path}`` for any dotted path.

    Rule("encoder.layer.{i}.attention.attention.query", "blocks.{i}.attention.query")     a rename
    Rule("h.{i}.mlp.c_fc", "blocks.{i}.mlp.up", transposed=True)                           [in, out] on disk
    Rule("h.{i}.attn.c_attn", "blocks.{i}.attention.query", "...key", "...value", ...)     several of ours in one of theirs
    Rule("position_embedding", "positions", reshaped="1 n d -> n d")                       another shape on disk
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cached_property

from vedcore.errors import ConfigError


class Rule:
    """The tensors under the prefix ``theirs`` on disk are ours under ``ours``.

    Several names in ``ours`` mean that their tensors are concatenated along the outputs on disk.
    transposed: matrices are [in, out] on disk and [out, in] in the module, as for GPT-2's Conv1D.
    reshaped: our axes and theirs, with the same values in the same order: ``"d c h w -> d (c h w)"`` for the kernel of a
    convolution that is a matrix on disk. It applies to tensors with as many axes as ours.

    Raises ConfigError if ``reshaped`` changes the order of the axes, or comes with several names in ``ours``.
    """

    __slots__ = ("ours", "reshaped", "theirs", "transposed")

    def __init__(self, theirs: str, *ours: str, transposed: bool = False, reshaped: str | None = None) -> None:
        self.theirs, self.ours, self.transposed, self.reshaped = theirs, ours, transposed, reshaped
        if reshaped is not None:
            here, _, there = (re.sub(r"[()]|\b1\b", " ", side).split() for side in reshaped.partition("->"))
            if here != there or len(ours) > 1:
                expected = "one name, and axes like 'd c h w -> d (c h w)', in the same order on both sides"
                raise ConfigError(
                    f"Rule({theirs!r}): reshaped needs {expected}; got {reshaped!r} for {len(ours)} names",
                    field="reshaped",
                    expected=expected,
                    found=reshaped,
                )


@dataclass(frozen=True, slots=True)
class Place:
    """The place of one of our tensors on disk: part ``index`` of ``count`` equal parts of the tensor ``name``."""

    name: str
    index: int = 0
    count: int = 1
    transposed: bool = False
    reshaped: str | None = None

    def shape_on_disk(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape on disk of one of our tensors of this ``shape``, before it stands beside others or is transposed."""
        if self.reshaped is None:
            return shape
        ours, _, theirs = self.reshaped.partition("->")
        if len(ours.split()) != len(shape):
            return shape
        sizes = dict(zip(ours.split(), shape, strict=True))
        axes = re.findall(r"\(([^)]*)\)|(\S+)", theirs)
        return tuple(math.prod(sizes.get(axis, 1) for axis in (group or single).split()) for group, single in axes)


@dataclass(frozen=True)
class KeyMap:
    """The tensor names in the checkpoints of one architecture.

    rules: the first rule that matches a name applies; a name without a matching rule is the same on disk.
    aliases: pairs (other prefix, prefix in ``rules``) for older and newer names on disk. They are read but never written.
        All apply, in order, each to the result of the one before.
    dropped: prefixes of tensors on disk that are ignored, such as stray buffers and heads for other tasks.
    optional: submodules that a checkpoint may leave out; loading sets them to None then.
    prefixes: what may precede all names in a file that holds only this part ("vit.").
    """

    rules: tuple[Rule, ...]
    aliases: tuple[tuple[str, str], ...] = ()
    dropped: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()

    def canonical(self, name: str) -> str | None:
        """The name that the rules use for the name ``name`` on disk; None if the tensor is ignored."""
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
        """The place of our parameter ``name`` on disk."""
        for pattern, rule, index in self._outward:
            found = _substitute(pattern, rule.theirs, name)
            if found is not None:
                return Place(found, index, len(rule.ours), rule.transposed, rule.reshaped)
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
    """A regular expression for a prefix: ``{i}``, or any one letter, is a number; a longer word is a dotted path."""
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
