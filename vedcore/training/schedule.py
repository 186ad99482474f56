"""What happens when: the learning rate within a stage, the steps that evaluate, and the steps of a stage of epochs."""

from __future__ import annotations

import math

import attrs

from vedcore.errors import ConfigError
from vedcore.model.groups import warmup
from vedcore.training.recipe import MAX_STEPS, Stage

SHORTEST, LONGEST = 25, 500
"""The least and the greatest distance in steps between two evaluations of a run whose recipe does not say ``every``."""


def learning_rate(stage: Stage, step: int, progress: float) -> float:
    """The learning rate at ``step`` (from 0) of a stage; ``progress`` is the completed share of the stage (0 to 1)."""
    remaining = {"constant": 1.0, "linear": 1 - progress, "cosine": (1 + math.cos(math.pi * progress)) / 2}
    return stage.lr * warmup(step, stage.warmup) * (stage.end + (1 - stage.end) * remaining[stage.schedule])


def is_evaluated(step: int, every: int | None) -> bool:
    """Whether a run evaluates after ``step`` steps: every ``every`` steps.

    None: the distance is a quarter of the steps done, in multiples of ``SHORTEST`` and up to ``LONGEST``. The reader changes
    most at the start of a run, and a long run would spend its time on evaluations.
    """
    if every is not None:
        return step % every == 0
    at = 0
    while at < step:
        at += min(LONGEST, max(SHORTEST, at // 4 // SHORTEST * SHORTEST))
    return at == step


def with_steps(stage: Stage, samples: int, batch_size: float) -> Stage:
    """``stage`` with its epochs as steps, of which the warm-up takes at most half. samples: of its data. batch_size: the mean
    number of these in a batch.

    Raises ConfigError for more steps than a run can have.
    """
    if stage.epochs is None:
        return stage
    steps = math.ceil(stage.epochs * samples / batch_size)
    if steps > MAX_STEPS:
        raise ConfigError(
            f"{stage.epochs:g} epochs of {samples} samples are more than {MAX_STEPS} steps; set steps instead",
            field="stages.epochs",
            expected=f"at most {MAX_STEPS} steps",
            found=stage.epochs,
        )
    return attrs.evolve(stage, steps=steps, epochs=None, warmup=min(stage.warmup, steps // 2))  # type: ignore[misc]
