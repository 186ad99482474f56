"""The checkpoints of a run: folders that hold everything that the next step depends on, without a pickle.

``checkpoints/step-00000500/``: ``model/`` is a complete checkpoint for reading; ``state/`` holds the tensors of the optimiser
and the CTC layer; ``state.json`` says where the run stands. Random numbers of a step depend only on the seed and the number
of the step, so no generator has a state to save.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import torch

from vedcore.errors import CheckpointError, ConfigError, TokenizerError
from vedcore.reader import Reader
from vedcore.storage.files import staged, write_json
from vedcore.storage.own import OWN_FILE, own_settings
from vedcore.storage.tensors import listed
from vedcore.training.finite import not_finite
from vedcore.training.objective import Objective
from vedcore.training.optimizer_state import save_optimizer_state
from vedcore.training.state import PREFIX, STATE_FILE, TrainingState, checkpoint_name, read_state

FOLDER = "checkpoints"


class CheckpointFolder:
    """The checkpoints in the folder of a run. ``keep``: how many of the latest are kept besides the best."""

    def __init__(self, run: Path, keep: int) -> None:
        self.folder, self.keep = run / FOLDER, keep

    def newest(self) -> Path | None:
        """The checkpoint of the latest step, or None if there is no checkpoint."""
        steps = self._steps()
        return self._path(steps[-1]) if steps else None

    def describe_newest(self) -> str:
        """The part of an error message that says what a failed run has saved."""
        newest = self.newest()
        return "there is no checkpoint yet" if newest is None else f"the last good checkpoint is {newest}"

    def model_folder(self, step: int | None) -> Path | None:
        """The model folder of ``step``, or of the latest step if ``step`` is None or has no checkpoint."""
        path = None if step is None else self._path(step)
        path = path if path is not None and path.is_dir() else self.newest()
        return None if path is None else path / "model"

    def save(
        self, state: TrainingState, reader: Reader, objective: Objective, optimizer: torch.optim.Optimizer
    ) -> Path:
        """Write a checkpoint and remove the old ones. After a SaveError the old ones are unchanged."""
        path, best = self._path(state.position.step), state.position.best_step
        with staged(path, replaces=("*",)) as stage:
            write_reader(reader, stage / "model")
            (stage / "state").mkdir()
            save_optimizer_state(stage / "state", objective, optimizer)
            write_json(stage / STATE_FILE, attrs.asdict(state))  # type: ignore[arg-type]
        kept = {*self._steps()[-self.keep :], best}
        for step in self._steps():
            if step not in kept:
                self._remove(self._path(step))
        return path

    def remove_unfinished(self) -> None:
        """Remove what killed saves have left. Call it only while no process saves."""
        for left in self.folder.glob(f".{PREFIX}*.tmp-*"):
            shutil.rmtree(left, ignore_errors=True)

    def remove_start(self) -> None:
        """Remove the checkpoint of the reader before training, if there is no later one."""
        if self._steps() == [0]:
            self._remove(self._path(0))

    def _path(self, step: int) -> Path:
        return self.folder / checkpoint_name(step)

    def _steps(self) -> list[int]:
        # A folder with a similar name, such as a copy that the user made, is not a checkpoint and is never removed.
        digits = {path: path.name.removeprefix(PREFIX) for path in self.folder.glob(f"{PREFIX}*") if path.is_dir()}
        steps = {path: int(step) for path, step in digits.items() if step.isdecimal() and step.isascii()}
        return sorted(step for path, step in steps.items() if path == self._path(step))

    def _remove(self, path: Path) -> None:
        # Rename first: after a kill in between, no incomplete checkpoint has a name that is read.
        removed = path.with_name(f".{path.name}.tmp-{os.getpid()}-{uuid.uuid4().hex[:8]}")
        os.rename(path, removed)
        shutil.rmtree(removed, ignore_errors=True)


def write_reader(reader: Reader, folder: Path) -> None:
    """Write everything that reading needs to the new ``folder``. A calibration is dropped if training changed the weights."""
    reader.model.save_pretrained(folder)
    reader.processor.save_pretrained(folder)
    reader.drop_stale_calibration()
    own: dict[str, Any] = {}
    if reader.cut_rule is not None:
        own["cut"] = attrs.asdict(reader.cut_rule)
    if reader.layout is not None:
        own["layout"] = reader.layout
    if isinstance(reader.segmenter, str):
        own["segmenter"] = reader.segmenter
    if reader.calibration is not None:
        own["calibration"] = reader.calibration.to_dict()
    if own:
        write_json(folder / OWN_FILE, {**own_settings(folder), **own})


def read_checkpoint(path: Path) -> tuple[TrainingState, Reader]:
    """The state and the reader in the checkpoint ``path``. Raises CheckpointError if it is damaged."""
    with explain_damage(path):
        state = read_state(path)
        reader = Reader.load(path / "model", dtype=torch.float32, prepare=False)
        if bad := not_finite(dict(reader.model.named_parameters())):
            raise CheckpointError(f"{path / 'model'}: not finite are {listed(bad)}", file=path / "model", tensor=bad[0])
    return state, reader


@contextmanager
def explain_damage(path: Path) -> Iterator[None]:
    """Add to an error about the checkpoint ``path`` how to continue without it, and make it a CheckpointError."""
    try:
        yield
    except (CheckpointError, ConfigError, TokenizerError) as cause:
        raise CheckpointError(
            f"{cause}; if the checkpoint is damaged, delete {path} to resume from the one before it, or start again in "
            "another folder",
            file=cause.file or path,
            field=cause.field,
            tensor=cause.tensor,
            expected=cause.expected,
            found=cause.found,
        ) from cause
