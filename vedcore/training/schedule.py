"""The course of the learning rate."""

from __future__ import annotations

import math

from vedcore.model.groups import warmup
from vedcore.training.recipe import Stage


def learning_rate(stage: Stage, step: int, done: float) -> float:
    """The rate of a stage's ``step`` (from 0), of which the share ``done`` (0 to 1) is behind it."""
    left = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}[stage.schedule]
    return stage.lr * warmup(step, stage.warmup) * (stage.end + (1 - stage.end) * left)
