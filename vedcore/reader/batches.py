"""Batches of rows: the rows of several images are read together, as many as fit in a batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

Job = TypeVar("Job")


@dataclass(frozen=True, slots=True)
class WaitingRow(Generic[Job]):
    """A row that waits for its batch: the job it belongs to, its position there, and its pixels (3, h, w)."""

    job: Job
    position: int
    pixels: NDArray[np.float32]


class RowQueue(Generic[Job]):
    """Rows in the order in which they are read. A batch has at most ``batch_size`` rows, all of one shape."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._waiting: list[WaitingRow[Job]] = []

    def add(self, job: Job, rows: Iterable[NDArray[np.float32]]) -> None:
        """Append the rows of a job."""
        self._waiting += [WaitingRow(job, position, pixels) for position, pixels in enumerate(rows)]

    def complete(self) -> Iterator[list[WaitingRow[Job]]]:
        """Remove and yield each batch to which no later row can be added: it is full, or a row of another shape follows."""
        while self._waiting:
            batch = self._first()
            if len(batch) == len(self._waiting) < self._batch_size:
                return
            yield self._remove(batch)

    def rest(self) -> Iterator[list[WaitingRow[Job]]]:
        """Remove and yield all batches."""
        while self._waiting:
            yield self._remove(self._first())

    def _first(self) -> list[WaitingRow[Job]]:
        _, rows = next(groupby(self._waiting[: self._batch_size], key=lambda row: row.pixels.shape))
        return list(rows)

    def _remove(self, batch: list[WaitingRow[Job]]) -> list[WaitingRow[Job]]:
        del self._waiting[: len(batch)]
        return batch


def stack_pixels(batch: list[WaitingRow[Job]]) -> torch.Tensor:
    """The pixel values (B, 3, h, w) of a batch."""
    return torch.from_numpy(np.stack([row.pixels for row in batch]))
