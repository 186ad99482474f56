"""The optimiser of a run: AdamW over groups of parameters."""

from __future__ import annotations

import torch

from vedcore.config import field, strict
from vedcore.errors import ConfigError, foreign
from vedcore.model.groups import Pace, parameter_groups
from vedcore.training.objective import Objective
from vedcore.training.recipe import Recipe


@strict
class ParameterGroup:
    """A group of the optimiser: its parameters by name, the factor of their learning rate, and their weight decay."""

    names: tuple[str, ...]
    factor: float = field.number(1.0)
    weight_decay: float = field.number(0.0, at_least=0)


def initial_groups(recipe: Recipe, objective: Objective) -> tuple[ParameterGroup, ...]:
    """The groups at the start of a run. Raises ConfigError if every parameter of the model is frozen."""

    def pace(factor: float) -> Pace:
        return Pace(lr=factor, weight_decay=recipe.optimizer.weight_decay)

    parts = {part: pace(factor) for part, factor in recipe.optimizer.pace.items()}
    groups = [
        ParameterGroup(
            names=tuple(f"model.{name}" for name in group["names"]),
            factor=group["lr"],
            weight_decay=group["weight_decay"],
        )
        for group in parameter_groups(objective.model, pace(1.0), parts)
    ]
    if not groups:
        raise ConfigError(
            f"freeze = {list(recipe.freeze)} leaves no parameter to learn", field="freeze", found=list(recipe.freeze)
        )
    if objective.ctc is not None:
        groups.append(ParameterGroup(names=tuple(f"ctc.{name}" for name, _ in objective.ctc.named_parameters())))
    return tuple(groups)


def make_optimizer(recipe: Recipe, objective: Objective, groups: tuple[ParameterGroup, ...]) -> torch.optim.Optimizer:
    """AdamW with the settings of the recipe. Raises ConfigError for settings that AdamW refuses."""
    parameters = dict(objective.named_parameters())
    settings = recipe.optimizer
    device = next(objective.parameters()).device.type
    with foreign(ConfigError, "recipe.optimizer", field="optimizer"):
        return torch.optim.AdamW(
            [
                {
                    "params": [parameters[name] for name in group.names],
                    "factor": group.factor,
                    "weight_decay": group.weight_decay,
                }
                for group in groups
            ],
            betas=(settings.beta1, settings.beta2),
            eps=settings.eps,
            fused=device in ("cpu", "cuda"),
        )


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of each group to ``rate`` times the factor of the group."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
