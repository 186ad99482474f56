"""The options of ``vedcore train`` as changes to a recipe: each overrides the value in the recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import attrs

from vedcore.errors import ConfigError
from vedcore.training.recipe import KeepSettings, Recipe, Stage
from vedcore.vision import Augmentation

FINE_TUNING: dict[str, Any] = {
    "stages": [{"steps": 1000, "lr": 3e-4, "warmup": 50}],
    "evaluation": {"patience": 6},
}
"""What a run without a recipe does, besides the defaults of a recipe. ``docs/training.md`` has the measurements."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """The options of the command; None leaves the value of the recipe.

    model: the checkpoint to continue from. add_characters: to its vocabulary. lr, steps, epochs: of the last stage, whose
    warm-up takes at most half of it. augment: ``Augmentation.usual()`` or none.
    patience: of the evaluation, 0 for no early end. keep: keep lines of ordinary print. keep_share: the same with this share.
    """

    model: str | None = None
    add_characters: str | None = None
    lr: float | None = None
    steps: int | None = None
    epochs: float | None = None
    augment: bool | None = None
    patience: int | None = None
    keep: bool = False
    keep_share: float | None = None
    threads: int | None = None
    tensorboard: bool | None = None
    max_minutes: float | None = None

    def __post_init__(self) -> None:
        if self.steps is not None and self.epochs is not None:
            raise ConfigError("--steps and --epochs both set the length of the run; give one of them", field="--epochs")

    def recipe(self) -> Recipe:
        """The recipe of a run that has none of its own: fine-tuning of ``model``, or else of the line reader."""
        return self.applied_to(Recipe.from_dict({"model": {"checkpoint": self.model or "line-reader"}, **FINE_TUNING}))

    def applied_to(self, recipe: Recipe) -> Recipe:
        """``recipe`` with the values of the options. Raises ConfigError for a value that a recipe refuses."""
        changes: dict[str, Any] = {
            "threads": self.threads,
            "tensorboard": self.tensorboard,
            "max_minutes": self.max_minutes,
            "model": _evolved(recipe.model, **self._model()),
            "augmentation": {None: None, True: Augmentation.usual(), False: Augmentation()}[self.augment],
            "keep": self._keep(recipe),
        }
        if self.patience is not None:
            changes["evaluation"] = _evolved(recipe.evaluation, patience=self.patience or None)
        changes["stages"] = (*recipe.stages[:-1], self._stage(recipe.stages[-1]))
        changed: Recipe = _evolved(recipe, **{name: value for name, value in changes.items() if value is not None})
        return changed

    def _model(self) -> dict[str, Any]:
        changes = {"checkpoint": self.model, "add_characters": self.add_characters}
        return {name: value for name, value in changes.items() if value is not None}

    def _stage(self, stage: Stage) -> Stage:
        changes: dict[str, Any] = {} if self.lr is None else {"lr": self.lr}
        if self.steps is not None:
            changes |= {
                "steps": self.steps,
                "epochs": None,
                "minutes": None,
                "warmup": min(stage.warmup, self.steps // 2),
            }
        if self.epochs is not None:
            changes |= {"steps": None, "epochs": self.epochs, "minutes": None}
        changed: Stage = _evolved(stage, **changes)
        return changed

    def _keep(self, recipe: Recipe) -> KeepSettings | None:
        if not self.keep and self.keep_share is None:
            return None
        keep = recipe.keep or KeepSettings()
        return keep if self.keep_share is None else _evolved(keep, share=self.keep_share)


def _evolved(settings: Any, **changes: Any) -> Any:
    return attrs.evolve(settings, **changes)
