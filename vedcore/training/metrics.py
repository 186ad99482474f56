"""The numbers of completed steps: they stay on the device until they are needed, then become records of the log."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from accelerate import Accelerator

from vedcore.errors import TrainingError
from vedcore.training.checkpoints import CheckpointFolder
from vedcore.training.learner import StepResult
from vedcore.training.recipe import Recipe
from vedcore.training.state import Position

ADVICE = "A smaller learning rate, more warm-up, a smaller optimizer.clip or precision = 'float32' may help"


@dataclass(frozen=True, slots=True)
class _PendingStep:
    step: int
    stage: int
    lr: float
    result: StepResult


class StepMetrics:
    """The steps whose numbers are still on the device."""

    def __init__(self, recipe: Recipe, accelerator: Accelerator, checkpoints: CheckpointFolder) -> None:
        self.recipe, self.accelerator, self.checkpoints = recipe, accelerator, checkpoints
        self.pending: list[_PendingStep] = []

    def add(self, position: Position, lr: float, result: StepResult) -> None:
        """Keep the result of the step after ``position``, which had the learning rate ``lr``."""
        self.pending.append(_PendingStep(position.step + 1, position.stage, lr, result))

    def flush(self) -> list[dict[str, Any]]:
        """The log records of the pending steps, which all processes must ask for together.

        Raises TrainingError if a loss or a gradient is not finite. With float16 a gradient may be: the loss scaler skips that
        step, and the record has None for the norm.
        """
        if not self.pending:
            return []
        steps, self.pending = self.pending, []
        losses = self.accelerator.reduce(torch.stack([step.result.losses for step in steps]), "sum").tolist()
        norms = torch.stack([step.result.norm for step in steps]).tolist()
        return [
            self._record(step, loss, ctc, norm) for step, (loss, ctc), norm in zip(steps, losses, norms, strict=True)
        ]

    def _record(self, step: _PendingStep, loss_sum: float, ctc_sum: float, norm: float) -> dict[str, Any]:
        loss, ctc = loss_sum / step.result.label_count, ctc_sum / step.result.label_count
        has_finite_norm = math.isfinite(norm)
        if not math.isfinite(loss_sum + ctc_sum) or not (has_finite_norm or self.recipe.precision == "float16"):
            self._refuse(step, loss, norm)
        record = {"event": "step", "step": step.step, "stage": step.stage, "loss": loss, "lr": step.lr}
        record |= {"ctc": ctc} if self.recipe.loss.ctc else {}
        return {**record, "norm": norm if has_finite_norm else None}

    def _refuse(self, step: _PendingStep, loss: float, norm: float) -> NoReturn:
        sources = step.result.sources
        raise TrainingError(
            f"step {step.step}: the loss is {loss}, the norm of its gradient {norm}; the images of this step are "
            f"{', '.join(sources[:16])}{', ...' if len(sources) > 16 else ''}; {self.checkpoints.describe_newest()}. "
            f"{ADVICE}",
            expected="a finite loss and gradient",
            found={"step": step.step, "loss": loss, "norm": norm, "sources": sources},
        )
