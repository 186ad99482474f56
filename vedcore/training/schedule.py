"""The learning rate schedule of a stage."""

from __future__ import annotations

import math

from vedcore.model.groups import warmup
from vedcore.training.recipe import Stage


def learning_rate(stage: Stage, step: int, progress: float) -> float:
    """The learning rate at ``step`` (from 0) of a stage; ``progress`` is the completed share of the stage (0 to 1)."""
    remaining = {"constant": 1.0, "linear": 1 - progress, "cosine": (1 + math.cos(math.pi * progress)) / 2}
    return stage.lr * warmup(step, stage.warmup) * (stage.end + (1 - stage.end) * remaining[stage.schedule])
