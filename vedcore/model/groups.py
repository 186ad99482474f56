"""Parts of a model, chosen by the names of their parameters: what is frozen, and what learns how fast.

A pattern is the name of a parameter or of a module (everything inside it), with ``*``, ``?`` and ``[...]`` as in file names;
``*`` also crosses dots: ``encoder``, ``decoder.blocks.*.attention*``, ``decoder.cross``.
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
"""Stands for the parameters that still hold the random values they started from: ``model.untrained``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast parameters learn: the learning rate, the weight decay, the steps over which the rate grows from 0 to full."""

    lr: float
    weight_decay: float = 0.0
    warmup_steps: int = 0


def matching(model: nn.Module, patterns: Iterable[str]) -> list[str]:
    """The names of the parameters that any pattern matches, in the model's order.

    Raises ConfigError for a pattern that matches none, with the names that are near, and for one that is no text.
    """
    names = [name for name, _ in model.named_parameters()]
    found: set[str] = set()
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise ConfigError(
                f"a pattern is the name of a parameter or of a module, got {pattern!r}: pass each name by itself, as text "
                "('encoder', 'bridge')"
            )
        matched = {name for name in names if matches(name, pattern)}
        if not matched:
            raise ConfigError(f"no parameter matches {pattern!r}; near are {', '.join(_near(names, pattern))}")
        found |= matched
    return [name for name in names if name in found]


def matches(name: str, pattern: str) -> bool:
    """Whether the parameter ``name`` is what ``pattern`` names, or lies inside it."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")


def set_trainable(model: nn.Module, patterns: Iterable[str], trainable: bool) -> list[str]:
    """Let the parameters that match learn, or freeze them; returns their names. ConfigError as ``matching``."""
    names = matching(model, patterns)
    parameters = dict(model.named_parameters())
    for name in names:
        parameters[name].requires_grad_(trainable)
    return names


def parameter_groups(
    model: Any, pace: Pace, parts: Mapping[str, Pace] | None = None, *, decay_all: bool = False
) -> list[dict[str, Any]]:
    """The groups of a torch optimiser: each part of the model at a pace of its own, all else at ``pace``.

    parts: by pattern, the first that matches wins; ``"new"`` stands for ``model.untrained`` and may match nothing.
    Biases, norms, embeddings and lone vectors are not decayed, unless ``decay_all``. What is frozen is in no group.
    Each group has ``params``, ``lr``, ``weight_decay``, and, which optimisers keep, ``part``, ``names`` and ``warmup_steps``.
    Raises ConfigError for a pattern that matches nothing.
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
    """The share of the learning rate at ``step`` (from 0): it grows evenly and is whole from ``warmup_steps`` on."""
    return min(1.0, (step + 1) / (warmup_steps + 1))


def _decayed(model: nn.Module) -> set[int]:
    """The ids of matrices and kernels: the weights of linears and convolutions, but for a head that is an embedding too."""
    modules = list(model.modules())
    matrices = {id(module.weight) for module in modules if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d)}
    return matrices - {id(module.weight) for module in modules if isinstance(module, nn.Embedding)}


def _near(names: Sequence[str], pattern: str) -> list[str]:
    """Names of parameters and of modules that are like ``pattern``."""
    paths = {".".join(name.split(".")[:depth]) for name in names for depth in range(1, name.count(".") + 2)}
    near = get_close_matches(pattern, sorted(paths), n=5, cutoff=0.5)
    return near or sorted({name.split(".")[0] for name in names})
