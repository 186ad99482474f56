"""How a run ended, and the events that it reports until then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vedcore.training.evaluation import Score

EventCallback = Callable[[str, Mapping[str, Any]], None]
"""Called with an event and its fields: "cut", "progress", "evaluation", "checkpoint", "skipped"."""

Ending = Literal["done", "patience", "time", "interrupted"]
"""All stages are done, ``evaluation.patience`` evaluations in a row were not better, ``max_minutes`` have passed, or a signal
stopped the run."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended.

    folder: the folder of the run. ended: how (see ``Ending``). step: the completed steps.
    score: the last evaluation. skipped: the number of samples left out.
    best_step, best_cer: the evaluation with the lowest error rate, the latest of equal ones; ``folder`` holds its model.
    They are None without an evaluation; then ``folder`` holds the model of the last step. The step is 0 if training did not
    improve the reader from which it started.
    start_cer: of the reader before training. start_kept_cer, best_kept_cer: the error rates on held-out kept lines before
    training and at the best step; None if the run keeps no lines.
    """

    folder: Path
    ended: Ending
    step: int
    score: Score | None
    skipped: int
    best_step: int | None = None
    best_cer: float | None = None
    start_cer: float | None = None
    start_kept_cer: float | None = None
    best_kept_cer: float | None = None
