"""The checkpoints of a run: whole folders, each with all that the next step depends on, and none of it a pickle.

``checkpoints/step-00000500/``: ``model/``, a complete checkpoint for reading; ``state/``, the tensors of the optimiser and of
what belongs to training alone; ``state.json``, where the run stands. What is random in a step follows from the seed and the
step's number, so no generator has a state to keep.
"""

from __future__ import annotations

import os
import shutil
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor

from vedcore.checkpoint import stored_tensors, write_tensors
from vedcore.compose import OWN_FILE, own_settings
from vedcore.errors import CheckpointError
from vedcore.files import read_json, staged, write_json
from vedcore.reader import Reader
from vedcore.training.objective import Objective

FOLDER, PREFIX = "checkpoints", "step-"


@dataclass(slots=True)
class Position:
    """Where a run stands. step: steps done. stage, stage_step, stage_seconds: the stage it is in, and how far in that.

    best_step, best_cer: the evaluation with the lowest error rate, the latest of equal ones. skipped: samples that could
    not be used.
    """

    step: int = 0
    stage: int = 0
    stage_step: int = 0
    stage_seconds: float = 0.0
    best_step: int | None = None
    best_cer: float | None = None
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class State:
    """What state.json says. groups: of the optimiser, its parameters by name. scaler: of the loss, in float16."""

    position: Position
    groups: list[dict[str, Any]]
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
            write_json(stage / "state.json", asdict(state))
        kept = {*self._steps()[-self.keep :], best}
        for step in self._steps():
            if step not in kept:
                self._remove(self._path(step))
        return path

    def sweep(self) -> None:
        """Remove what killed saves have left. To be called while nobody saves."""
        for left in self.folder.glob(f".{PREFIX}*"):
            shutil.rmtree(left, ignore_errors=True)

    def _path(self, step: int) -> Path:
        return self.folder / f"{PREFIX}{step:08d}"

    def _steps(self) -> list[int]:
        return sorted(int(path.name.removeprefix(PREFIX)) for path in self.folder.glob(f"{PREFIX}*"))

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


def read_state(path: Path) -> State:
    """Where the run stood when the checkpoint ``path`` was written."""
    file = path / "state.json"
    data = read_json(file)
    try:
        return State(Position(**data["position"]), list(data["groups"]), dict(data["scaler"]))
    except (KeyError, TypeError) as cause:
        raise CheckpointError(f"{file}: not the state of a run ({cause})") from cause


def load_state(path: Path, objective: Objective, optimizer: torch.optim.Optimizer) -> None:
    """Give the optimiser, and what belongs to training alone, the tensors that were saved to the checkpoint ``path``."""
    names = _names(objective)
    state: dict[int, dict[str, Tensor]] = {}
    with stored_tensors(path / "state") as stored:
        tensors = {name: tensor.read() for name, tensor in stored.items()}
    own = {n.removeprefix("ctc."): t for n, t in tensors.items() if n.startswith("ctc.")}
    wanted = set() if objective.ctc is None else set(objective.ctc.state_dict())
    if own.keys() != wanted:
        raise CheckpointError(f"{path}: has {sorted(own)} of a CTC loss, the recipe asks for {sorted(wanted)}")
    if objective.ctc is not None:
        objective.ctc.load_state_dict(own)
    groups = optimizer.state_dict()["param_groups"]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    places = [place for group in groups for place in group["params"]]
    for place, parameter in zip(places, parameters, strict=True):
        prefix = f"optimizer.{names[id(parameter)]}:"
        found = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        if any(tensor.dim() and tensor.shape != parameter.shape for tensor in found.values()):
            raise CheckpointError(f"{path}: the optimiser's state of {names[id(parameter)]} has another shape")
        if found:
            state[place] = found
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _state_tensors(objective: Objective, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    names = _names(objective)
    tensors = {} if objective.ctc is None else {f"ctc.{n}": t for n, t in objective.ctc.state_dict().items()}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            for key, value in optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{names[id(parameter)]}:{key}"] = torch.as_tensor(value)
    return tensors


def _names(objective: Objective) -> dict[int, str]:
    return {id(parameter): name for name, parameter in objective.named_parameters()}
