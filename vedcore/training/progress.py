"""Speed, mean loss and remaining time of a run."""

from __future__ import annotations

import time
from typing import Any

from vedcore.training.recipe import Recipe, Stage
from vedcore.training.state import Position


class ProgressMeter:
    """Measures the steps since the last progress message or evaluation."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.started = time.monotonic()
        self.restart()

    def restart(self) -> None:
        """Forget the steps so far."""
        self.losses: list[float] = []
        self.since = time.monotonic()

    def add(self, loss: float) -> None:
        """Count a step with this loss."""
        self.losses.append(loss)

    def elapsed(self) -> float:
        """Seconds since the run started in this process."""
        return time.monotonic() - self.started

    def is_out_of_time(self) -> bool:
        """Whether the run has reached ``max_minutes``."""
        return self.recipe.max_minutes is not None and self.elapsed() >= 60 * self.recipe.max_minutes

    def fields(self, position: Position, lr: float) -> dict[str, Any]:
        """The fields of a progress message. Starts a new measurement."""
        seconds, count = time.monotonic() - self.since, max(1, len(self.losses))
        stage_steps = [stage.steps for stage in self.recipe.stages]
        fields = {
            "step": position.step,
            "steps": None if None in stage_steps else sum(filter(None, stage_steps)),
            "loss": sum(self.losses) / count,
            "lr": lr,
            "images_per_second": self.recipe.batch.size * len(self.losses) / seconds,
            "seconds_left": self._seconds_left(position, seconds / count),
        }
        self.restart()
        return fields

    def _seconds_left(self, position: Position, seconds_per_step: float) -> float:
        def duration(stage: Stage) -> float:
            return 60 * stage.minutes if stage.minutes else (stage.steps or 0) * seconds_per_step

        stage = self.recipe.stages[position.stage]
        completed = position.stage_seconds if stage.minutes else position.stage_step * seconds_per_step
        left = duration(stage) - completed + sum(map(duration, self.recipe.stages[position.stage + 1 :]))
        if self.recipe.max_minutes is not None:
            left = min(left, 60 * self.recipe.max_minutes - self.elapsed())
        return max(0.0, left)
