"""state.json: where a run stands, and the check that a run can have written it.

The field names here are the names in the file.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import torch

from vedcore.config import field, from_dict, strict
from vedcore.errors import CheckpointError, ConfigError
from vedcore.storage.files import read_json
from vedcore.storage.tensors import listed
from vedcore.training.objective import Objective
from vedcore.training.optimizer import ParameterGroup
from vedcore.training.recipe import Stage

STATE_FILE = "state.json"
PREFIX = "step-"


@strict
class Position:
    """Where a run stands.

    step: completed steps. stage, stage_step, stage_seconds: the current stage, and the steps and seconds completed in it.
    best_step, best_cer, best_loss: the evaluation with the lowest error rate; of equal rates the one with the lowest
    validation loss, and of equal losses the latest. best_loss is None if there was no label to compute a loss from.
    lowest_cer, lowest_loss, misses: the same values over the scheduled evaluations, and how many of these in a row were not
    lower. An evaluation because the time is over does not count, as an uninterrupted run would not have it.
    skipped: samples left out.
    """

    step: int = field.integer(0, at_least=0)
    stage: int = field.integer(0, at_least=0)
    stage_step: int = field.integer(0, at_least=0)
    stage_seconds: float = field.number(0.0, at_least=0)
    best_step: int | None = field.integer(None, at_least=0)
    best_cer: float | None = field.number(None, at_least=0)
    best_loss: float | None = field.number(None, at_least=0)
    lowest_cer: float | None = field.number(None, at_least=0)
    lowest_loss: float | None = field.number(None, at_least=0)
    misses: int = field.integer(0, at_least=0)
    skipped: int = field.integer(0, at_least=0)

    def next_step(self) -> None:
        """Count a completed step."""
        self.step += 1
        self.stage_step += 1

    def next_stage(self) -> None:
        """Move to the start of the next stage."""
        self.stage += 1
        self.stage_step, self.stage_seconds = 0, 0.0

    def progress_in(self, stage: Stage) -> float:
        """The completed share of ``stage``, the current one: 0 at its start, 1 or more at its end."""
        return self.stage_seconds / (60 * stage.minutes) if stage.minutes else self.stage_step / (stage.steps or 1)

    def record_score(self, cer: float, loss: float | None) -> bool:
        """Record this step as the best one if no earlier evaluation is better; returns whether it became the best one.

        A resumed run can start at the step of its last evaluation; that score is not recorded twice.
        """
        if self.best_step == self.step or (
            self.best_cer is not None and _rank(cer, loss) > _rank(self.best_cer, self.best_loss)
        ):
            return False
        self.best_step, self.best_cer, self.best_loss = self.step, cer, loss
        return True

    def record_scheduled(self, cer: float, loss: float | None) -> None:
        """Count this scheduled evaluation as a miss, unless it is better than all scheduled ones before."""
        if self.lowest_cer is None or _rank(cer, loss) < _rank(self.lowest_cer, self.lowest_loss):
            self.lowest_cer, self.lowest_loss, self.misses = cer, loss, 0
        else:
            self.misses += 1

    def is_out_of_patience(self, patience: int | None) -> bool:
        """Whether ``patience`` scheduled evaluations in a row were misses."""
        return patience is not None and self.misses >= patience


def _rank(cer: float, loss: float | None) -> tuple[float, float]:
    return cer, math.inf if loss is None else loss


@strict
class TrainingState:
    """The contents of state.json. groups: of the optimiser. scaler: the state of the float16 loss scaler."""

    position: Position
    groups: tuple[ParameterGroup, ...]
    scaler: dict[str, Any]


def checkpoint_name(step: int) -> str:
    """The name of the checkpoint folder of a step."""
    return f"{PREFIX}{step:08d}"


def read_state(path: Path) -> TrainingState:
    """The state in the checkpoint ``path``. Raises CheckpointError that names each wrong field."""
    file = path / STATE_FILE
    data = read_json(file)
    try:
        state = from_dict(TrainingState, data, f"{file}: not the state of a run")
    except ConfigError as cause:
        raise CheckpointError(str(cause), file=file, field=cause.field) from cause
    _require_all_fields(file, data)
    position = state.position
    if path.name != checkpoint_name(position.step):
        raise CheckpointError(
            f"{file}: position.step is {position.step}, but the folder is {path.name}",
            file=file,
            field="position.step",
            expected=path.name,
            found=position.step,
        )
    if (position.best_step is None) != (position.best_cer is None) or (position.best_step or 0) > position.step:
        raise CheckpointError(
            f"{file}: position.best_step is {position.best_step} and best_cer {position.best_cer}; expected both or "
            f"neither, and no step after {position.step}",
            file=file,
            field="position.best_step",
            found=position.best_step,
        )
    return state


def _require_all_fields(file: Path, data: dict[str, Any]) -> None:
    """Every field is written, so a field without a value is damage, although the classes have defaults."""
    written: dict[str, tuple[Any, dict[str, Any]]] = {"position": (Position, data["position"])}
    written |= {f"groups[{index}]": (ParameterGroup, group) for index, group in enumerate(data["groups"])}
    missing = [
        f"{at}.{a.name}" for at, (cls, found) in written.items() for a in attrs.fields(cls) if a.name not in found
    ]
    if missing:
        raise CheckpointError(f"{file}: missing are {listed(missing)}", file=file, field=missing[0])


def check_state(path: Path, state: TrainingState, stages: Sequence[Stage], objective: Objective) -> None:
    """Raise CheckpointError if no run with these stages and this ``objective`` can reach the ``state`` of ``path``."""
    _check_position(path / STATE_FILE, state.position, stages)
    _check_groups(path / STATE_FILE, state.groups, objective)


def _check_position(file: Path, position: Position, stages: Sequence[Stage]) -> None:
    earlier = [stage.steps for stage in stages[: position.stage]]
    current = stages[position.stage].steps if position.stage < len(stages) else 0
    least = sum(steps or 0 for steps in earlier) + position.stage_step
    agrees = position.step >= least if None in earlier else position.step == least  # None: a stage of minutes
    if position.stage > len(stages) or not agrees or (current is not None and position.stage_step > current):
        raise CheckpointError(
            f"{file}: position.stage {position.stage} and stage_step {position.stage_step} do not agree with step "
            f"{position.step} and the {len(stages)} stages of the recipe",
            file=file,
            field="position.stage",
            found=position.stage,
        )


def _check_groups(file: Path, groups: Sequence[ParameterGroup], objective: Objective) -> None:
    expected = Counter(name for name, parameter in objective.named_parameters() if parameter.requires_grad)
    found = Counter(name for group in groups for name in group.names)
    if expected != found:
        missing, surplus = sorted(expected - found), sorted(found - expected)
        raise CheckpointError(
            f"{file}: groups must name each parameter that learns once; missing are {listed(missing) or 'none'}, "
            f"surplus are {listed(surplus) or 'none'}",
            file=file,
            field="groups",
            tensor=(missing or surplus)[0],
        )


def load_scaler(path: Path, state: TrainingState, scaler: Any) -> None:
    """Load the state of the float16 loss scaler (None without float16) from the checkpoint ``path``.

    Raises CheckpointError if the state belongs to a scaler with other settings, or to none.
    """
    fresh: dict[str, Any] = {} if scaler is None else scaler.state_dict()
    if not _is_scaler_state(state.scaler, fresh):
        raise CheckpointError(
            f"{path / STATE_FILE}: scaler is {str(state.scaler)[:200]}, expected one like {fresh}",
            file=path / STATE_FILE,
            field="scaler",
            expected=fresh,
            found=state.scaler,
        )
    if scaler is not None:
        scaler.load_state_dict(state.scaler)


def _is_scaler_state(found: dict[str, Any], fresh: dict[str, Any]) -> bool:
    """Whether ``found`` has the fields, types and settings of a ``fresh`` scaler state, and values in range."""
    if {name: type(value) for name, value in found.items()} != {name: type(value) for name, value in fresh.items()}:
        return False
    changing = {"scale", "_growth_tracker"}
    if any(found[name] != fresh[name] for name in found if name not in changing):
        return False
    largest = torch.finfo(torch.float32).max
    return not fresh or (0 < found["scale"] <= largest and 0 <= found["_growth_tracker"] < fresh["growth_interval"])
