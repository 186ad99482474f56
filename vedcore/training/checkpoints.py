"""The checkpoints of a run: whole folders, each with all that the next step depends on, and none of it a pickle.

``checkpoints/step-00000500/``: ``model/``, a complete checkpoint for reading; ``state/``, the tensors of the optimiser and of
what belongs to training alone; ``state.json``, where the run stands. What is random in a step follows from the seed and the
step's number, so no generator has a state to keep.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor

from vedcore.config import field, from_dict, strict
from vedcore.errors import CheckpointError, ConfigError, TokenizerError
from vedcore.reader import Reader
from vedcore.storage.files import read_json, staged, write_json
from vedcore.storage.own import OWN_FILE, own_settings
from vedcore.storage.tensors import listed, stored_tensors, write_tensors
from vedcore.training.objective import Objective
from vedcore.training.recipe import Stage

FOLDER, PREFIX = "checkpoints", "step-"
STATE_FILE = "state.json"

_STEP, _MOMENTS = "step", ("exp_avg", "exp_avg_sq")
"""What AdamW keeps of a parameter. The moments begin with its first gradient; until then the step is 0."""


@strict
class Position:
    """Where a run stands. step: steps done. stage, stage_step, stage_seconds: the stage it is in, and how far in that.

    best_step, best_cer: the evaluation with the lowest error rate, the latest of equal ones. skipped: samples that could
    not be used.
    """

    step: int = field.integer(0, at_least=0)
    stage: int = field.integer(0, at_least=0)
    stage_step: int = field.integer(0, at_least=0)
    stage_seconds: float = field.number(0.0, at_least=0)
    best_step: int | None = field.integer(None)
    best_cer: float | None = field.number(None, at_least=0)
    skipped: int = field.integer(0, at_least=0)


@strict
class Group:
    """A group of the optimiser: its parameters by name, the factor of their learning rate, and their weight decay."""

    names: tuple[str, ...]
    factor: float = field.number(1.0)
    weight_decay: float = field.number(0.0, at_least=0)


@strict
class State:
    """What state.json says. groups: of the optimiser. scaler: of the loss, in float16."""

    position: Position
    groups: tuple[Group, ...]
    scaler: dict[str, Any]


class Checkpoints:
    """The checkpoints in the folder of a run. ``keep``: how many of the last stay, beside the best."""

    def __init__(self, run: Path, keep: int) -> None:
        self.folder, self.keep = run / FOLDER, keep

    def newest(self) -> Path | None:
        """The last checkpoint, if there is one."""
        steps = self._steps()
        return self._path(steps[-1]) if steps else None

    def model(self, step: int | None) -> Path | None:
        """The folder of the model of ``step``, or of the last one where that is not kept."""
        path = None if step is None else self._path(step)
        path = path if path is not None and path.is_dir() else self.newest()
        return None if path is None else path / "model"

    def save(self, state: State, reader: Reader, objective: Objective, optimizer: torch.optim.Optimizer) -> Path:
        """Write a checkpoint and remove those that are not kept. SaveError leaves the old ones as they were."""
        path, best = self._path(state.position.step), state.position.best_step
        with staged(path, replaces=("*",)) as stage:
            write_reader(reader, stage / "model")
            (stage / "state").mkdir()
            write_tensors(stage / "state", _state_tensors(objective, optimizer), "50GB")
            write_json(stage / STATE_FILE, attrs.asdict(state))  # type: ignore[arg-type]
        kept = {*self._steps()[-self.keep :], best}
        for step in self._steps():
            if step not in kept:
                self._remove(self._path(step))
        return path

    def sweep(self) -> None:
        """Remove what killed saves have left. To be called while nobody saves."""
        for left in self.folder.glob(f".{PREFIX}*.tmp-*"):
            shutil.rmtree(left, ignore_errors=True)

    def _path(self, step: int) -> Path:
        return self.folder / f"{PREFIX}{step:08d}"

    def _steps(self) -> list[int]:
        # What somebody put beside them, a copy of one, say, is no checkpoint and nobody's to remove.
        digits = {path: path.name.removeprefix(PREFIX) for path in self.folder.glob(f"{PREFIX}*") if path.is_dir()}
        steps = {path: int(step) for path, step in digits.items() if step.isdecimal() and step.isascii()}
        return sorted(step for path, step in steps.items() if path == self._path(step))

    def _remove(self, path: Path) -> None:
        # Its name goes first: a kill in between leaves no half of a checkpoint under a name that is read.
        gone = path.with_name(f".{path.name}.tmp-{os.getpid()}-{uuid.uuid4().hex[:8]}")
        os.rename(path, gone)
        shutil.rmtree(gone, ignore_errors=True)


def write_reader(reader: Reader, folder: Path) -> None:
    """Write all that reading needs to the new ``folder``."""
    reader.model.save_pretrained(folder)
    reader.processor.save_pretrained(folder)
    if reader.cut_rule is not None:
        write_json(folder / OWN_FILE, {**own_settings(folder), "cut": attrs.asdict(reader.cut_rule)})


@contextmanager
def resuming(path: Path) -> Iterator[None]:
    """Let what is found wrong with the checkpoint ``path`` be a CheckpointError that says how to go on without it."""
    try:
        yield
    except (CheckpointError, ConfigError, TokenizerError) as cause:
        raise CheckpointError(
            f"{cause}; if that is damage, delete {path} to resume from the one before it, or start anew in another "
            "folder"
        ) from cause


def read_state(path: Path) -> State:
    """Where the run stood when the checkpoint ``path`` was written. CheckpointError names each wrong field."""
    file = path / STATE_FILE
    data = read_json(file)
    try:
        state = from_dict(State, data, f"{file}: not the state of a run")
    except ConfigError as cause:
        raise CheckpointError(str(cause)) from cause
    written: dict[str, tuple[Any, dict[str, Any]]] = {"position": (Position, data["position"])}
    written |= {f"groups[{index}]": (Group, group) for index, group in enumerate(data["groups"])}
    absent = [
        f"{at}.{a.name}" for at, (cls, found) in written.items() for a in attrs.fields(cls) if a.name not in found
    ]
    if absent:
        raise CheckpointError(f"{file}: lacks {listed(absent)}")
    position = state.position
    if path.name != f"{PREFIX}{position.step:08d}":
        raise CheckpointError(f"{file}: position.step is {position.step}, in a folder that is called {path.name}")
    if (position.best_step is None) != (position.best_cer is None) or (position.best_step or 0) > position.step:
        raise CheckpointError(
            f"{file}: position.best_step is {position.best_step} and best_cer {position.best_cer}; expected both or "
            f"neither, and no step after {position.step}"
        )
    return state


def check_state(path: Path, state: State, stages: Sequence[Stage], objective: Objective) -> None:
    """CheckpointError if no run of these stages, which trains ``objective``, comes to the ``state`` of ``path``."""
    file, at = path / STATE_FILE, state.position
    before = [stage.steps for stage in stages[: at.stage]]
    here = stages[at.stage].steps if at.stage < len(stages) else 0
    least = sum(steps or 0 for steps in before) + at.stage_step
    is_there = at.step >= least if None in before else at.step == least
    if at.stage > len(stages) or not is_there or (here is not None and at.stage_step > here):
        raise CheckpointError(
            f"{file}: position.stage {at.stage} and stage_step {at.stage_step} are not where step {at.step} of the "
            f"{len(stages)} stages of the recipe is"
        )
    learned = Counter(name for name, parameter in objective.named_parameters() if parameter.requires_grad)
    found = Counter(name for group in state.groups for name in group.names)
    if learned != found:
        raise CheckpointError(
            f"{file}: groups must name each parameter that learns once; they lack "
            f"{listed(sorted(learned - found)) or 'none'}, and {listed(sorted(found - learned)) or 'none'} is too much"
        )


def load_scaler(path: Path, state: State, scaler: Any) -> None:
    """Give the loss scaler (or None) what the checkpoint ``path`` says of it. CheckpointError if it is another's."""
    fresh: dict[str, Any] = {} if scaler is None else scaler.state_dict()
    moving = {"scale", "_growth_tracker"}
    kept = {name: value for name, value in state.scaler.items() if name not in moving}
    types = {name: type(value) for name, value in state.scaler.items()}
    is_ours = types == {name: type(value) for name, value in fresh.items()} and all(kept[n] == fresh[n] for n in kept)
    if is_ours and fresh:
        largest = torch.finfo(torch.float32).max
        is_ours = (
            0 < state.scaler["scale"] <= largest and 0 <= state.scaler["_growth_tracker"] < fresh["growth_interval"]
        )
    if not is_ours:
        raise CheckpointError(f"{path / STATE_FILE}: scaler is {str(state.scaler)[:200]}, expected one like {fresh}")
    if scaler is not None:
        scaler.load_state_dict(state.scaler)


def load_state(path: Path, step: int, objective: Objective, optimizer: torch.optim.Optimizer) -> None:
    """Give the optimiser, and what belongs to training alone, the tensors saved to the checkpoint ``path`` of ``step``.

    Raises CheckpointError, with nothing given, unless each has the type and the shape that it must have, and is finite.
    """
    parameters = _optimised(objective, optimizer)
    own = {} if objective.ctc is None else {f"ctc.{n}": t for n, t in objective.ctc.state_dict().items()}
    tensors = _read_tensors(path / "state", own, parameters)
    _check_values(path / "state", step, tensors, parameters)
    if objective.ctc is not None:
        objective.ctc.load_state_dict({name.removeprefix("ctc."): tensors[name] for name in own})
    groups = optimizer.state_dict()["param_groups"]
    places = [place for group in groups for place in group["params"]]
    state = {
        place: {key: tensors[_key(name, key)] for key in (_STEP, *_MOMENTS)}
        for place, name in zip(places, parameters, strict=True)
        if _key(name, _MOMENTS[0]) in tensors
    }
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _read_tensors(folder: Path, own: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors in ``folder``, just those that there must be, each like what it is for."""
    wanted = {**own, **{_key(name, _STEP): torch.zeros((), dtype=torch.float32) for name in parameters}}
    with stored_tensors(folder) as stored:
        for name, parameter in parameters.items():
            moments = {_key(name, moment): parameter for moment in _MOMENTS}
            if moments.keys() & stored.keys():
                wanted |= moments
        if absent := sorted(wanted.keys() - stored.keys()):
            raise CheckpointError(f"{folder}: lacks {listed(absent)}")
        if unknown := sorted(stored.keys() - wanted.keys()):
            raise CheckpointError(f"{folder}: has {listed(unknown)}, which nothing of this run takes")
        for name, tensor in wanted.items():
            found, dtype = stored[name], str(tensor.dtype).removeprefix("torch.")
            if (found.shape, found.dtype) != (tuple(tensor.shape), dtype):
                raise CheckpointError(
                    f"{folder / found.file}: {name} is {found.dtype} {list(found.shape)}, expected {dtype} "
                    f"{list(tensor.shape)}"
                )
        return {name: stored[name].read() for name in wanted}


def _check_values(folder: Path, step: int, tensors: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> None:
    """CheckpointError for values that no run of ``step`` steps has."""
    if bad := not_finite(tensors):
        raise CheckpointError(f"{folder}: not finite are {listed(bad)}")
    for name in parameters:
        taken, squares = float(tensors[_key(name, _STEP)]), tensors.get(_key(name, _MOMENTS[1]))
        least, most = (0, 0) if squares is None else (1, step)
        if not (taken.is_integer() and least <= taken <= most):
            raise CheckpointError(
                f"{folder}: {_key(name, _STEP)} is {taken:g}, expected "
                + ("0, or moments beside it" if squares is None else f"a whole number from 1 to {step}")
            )
        if squares is not None and bool((squares < 0).any()):
            raise CheckpointError(f"{folder}: {_key(name, _MOMENTS[1])}, a mean of squares, has values below 0")


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """The names of those tensors, all of one device, that hold a NaN or an infinity. One wait for the device."""
    flags = torch.stack([tensor.detach().isfinite().all() for tensor in tensors.values()]).tolist()
    return [name for name, is_finite in zip(tensors, flags, strict=True) if not is_finite]


def check_weights(folder: Path) -> None:
    """CheckpointError if the weights in ``folder`` are not all finite."""
    with stored_tensors(folder) as stored:
        bad = [name for name, tensor in stored.items() if not tensor.read().isfinite().all()]
    if bad:
        raise CheckpointError(f"{folder}: not finite are {listed(bad)}")


def _state_tensors(objective: Objective, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    tensors = {} if objective.ctc is None else {f"ctc.{n}": t for n, t in objective.ctc.state_dict().items()}
    for name, parameter in _optimised(objective, optimizer).items():
        for key, value in (optimizer.state.get(parameter) or {_STEP: 0.0}).items():
            tensors[_key(name, key)] = torch.as_tensor(value, dtype=torch.float32)
    return tensors


def _optimised(objective: Objective, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The parameters of the optimiser by name, in its order."""
    names = {id(parameter): name for name, parameter in objective.named_parameters()}
    return {names[id(parameter)]: parameter for group in optimizer.param_groups for parameter in group["params"]}


def _key(parameter: str, key: str) -> str:
    return f"optimizer.{parameter}:{key}"
