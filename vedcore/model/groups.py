"""Groups of parameters, selected by name: for freezing, and for learning rates of their own.

A pattern is the name of a parameter or of a module (all its parameters), with ``*``, ``?`` and ``[...]`` as in file names;
``*`` also matches dots. Examples: ``encoder``, ``decoder.blocks.*.attention*``, ``decoder.cross``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from vedcore.errors import ConfigError

NEW = "new"
"""The pattern for the parameters that still have their random initial values: ``model.untrained``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The optimiser's settings for a group: learning rate, weight decay, and the number of steps of linear warm-up."""

    lr: float
    weight_decay: float = 0.0
    warmup_steps: int = 0


def matching(model: nn.Module, patterns: Iterable[str]) -> list[str]:
    """The names of the parameters that any pattern matches, in the order of the model.

    Raises ConfigError for a pattern that is not a string or that matches nothing; the message lists similar names.
    """
    names = [name for name, _ in model.named_parameters()]
    found: set[str] = set()
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise ConfigError(
                f"a pattern is the name of a parameter or of a module, got {pattern!r}: pass each name as a string of its own "
                "('encoder', 'bridge')",
                field="patterns",
                expected="strings",
                found=pattern,
            )
        matched = {name for name in names if matches(name, pattern)}
        if not matched:
            similar = _similar(names, pattern)
            raise ConfigError(
                f"no parameter matches {pattern!r}; similar names are {', '.join(similar)}",
                field="patterns",
                expected=similar,
                found=pattern,
            )
        found |= matched
    return [name for name in names if name in found]


def matches(name: str, pattern: str) -> bool:
    """Whether ``pattern`` matches the parameter ``name`` or a module that contains it."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")


def set_trainable(model: nn.Module, patterns: Iterable[str], trainable: bool) -> list[str]:
    """Make the matching parameters trainable, or freeze them. Returns their names. Raises ConfigError as ``matching`` does."""
    names = matching(model, patterns)
    parameters = dict(model.named_parameters())
    for name in names:
        parameters[name].requires_grad_(trainable)
    return names


def parameter_groups(
    model: Any, pace: Pace, parts: Mapping[str, Pace] | None = None, *, decay_all: bool = False
) -> list[dict[str, Any]]:
    """The parameter groups for a torch optimiser.

    Each has ``params``, ``lr``, ``weight_decay``, ``part``, ``names`` and ``warmup_steps``.

    pace: for parameters that no pattern matches. parts: settings by pattern; the first pattern that matches counts.
    ``"new"`` is the pattern for ``model.untrained``, and the only one that may match nothing.
    decay_all: apply weight decay to all parameters; by default, only to the weights of linear layers and convolutions.
    Frozen parameters are in no group. Raises ConfigError as ``matching`` does.
    """
    parts = {} if parts is None else parts
    matching(model, [pattern for pattern in parts if pattern != NEW])
    new = set(model.untrained) if NEW in parts else set()
    decayed = _decayed(model)
    groups: dict[tuple[str, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        part = next((p for p in parts if (name in new if p == NEW else matches(name, p))), "")
        own = parts.get(part, pace)
        decays = decay_all or id(parameter) in decayed
        group = groups.setdefault(
            (part, decays),
            {
                "params": [],
                "names": [],
                "part": part or "all else",
                "lr": own.lr,
                "weight_decay": own.weight_decay if decays else 0.0,
                "warmup_steps": own.warmup_steps,
            },
        )
        group["params"].append(parameter)
        group["names"].append(name)
    return list(groups.values())


def warmup(step: int, warmup_steps: int) -> float:
    """The factor of the learning rate at ``step`` (from 0). It grows linearly and is 1 from step ``warmup_steps`` on."""
    return min(1.0, (step + 1) / (warmup_steps + 1))


def _decayed(model: nn.Module) -> set[int]:
    """The Python ids of the weights of linear layers and convolutions, except those of heads that are tied to embeddings."""
    modules = list(model.modules())
    weights = {id(module.weight) for module in modules if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d)}
    return weights - {id(module.weight) for module in modules if isinstance(module, nn.Embedding)}


def _similar(names: Sequence[str], pattern: str) -> list[str]:
    """Names of parameters and modules that are similar to ``pattern``; if there are none, the parts of the model."""
    paths = {".".join(name.split(".")[:depth]) for name in names for depth in range(1, name.count(".") + 2)}
    similar = get_close_matches(pattern, sorted(paths), n=5, cutoff=0.5)
    return similar or sorted({name.split(".")[0] for name in names})
