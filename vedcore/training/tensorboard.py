"""The log of a run for TensorBoard. The only file that imports it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vedcore.errors import TrainingError

FOLDER = "tensorboard"

_GROUPS = {"step": "training", "evaluation": "evaluation"}
"""The events with numbers to draw, and the group of their charts."""

_NOT_DRAWN = {"step", "lines", "seconds", "lines_per_second"}


def require_tensorboard() -> None:
    """Raise TrainingError if tensorboard is not installed."""
    if find_spec("tensorboard") is None:
        raise TrainingError(
            "output for TensorBoard needs tensorboard: pip install 'vedcore[tensorboard]'",
            field="tensorboard",
            expected="tensorboard",
        )


class TensorBoardWriter:
    """Writes the numbers of the log to the folder ``tensorboard`` of a run, one chart per number.

    step: the completed steps. TensorBoard hides the events after it, because a resumed run repeats those steps.
    """

    def __init__(self, run: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(run / FOLDER), purge_step=step + 1)

    def add(self, *records: Mapping[str, Any]) -> None:
        """Write the numbers of the records of the log that are steps or evaluations."""
        for record in records:
            group = _GROUPS.get(record["event"])
            for name, value in record.items():
                if group and name not in _NOT_DRAWN and type(value) in (int, float):
                    self._writer.add_scalar(f"{group}/{name}", value, record["step"])

    def flush(self) -> None:
        """Write what is buffered to disk. A run does this before each checkpoint, so that resuming loses no event."""
        self._writer.flush()

    def close(self) -> None:
        """Write the rest and close the file."""
        self._writer.close()
