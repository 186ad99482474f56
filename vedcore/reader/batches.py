"""Batches of lines: the lines of several images are read together, as many as fit in a batch."""

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
class WaitingLine(Generic[Job]):
    """A line that waits for its batch: the job it belongs to, its position there, and its pixels (3, h, w)."""

    job: Job
    position: int
    pixels: NDArray[np.float32]


class LineQueue(Generic[Job]):
    """Lines in the order in which they are read. A batch has at most ``batch_size`` lines, all of one shape."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._waiting: list[WaitingLine[Job]] = []

    def add(self, job: Job, lines: Iterable[NDArray[np.float32]]) -> None:
        """Append the lines of a job."""
        self._waiting += [WaitingLine(job, position, pixels) for position, pixels in enumerate(lines)]

    def complete(self) -> Iterator[list[WaitingLine[Job]]]:
        """Remove and yield each batch to which no later line can be added: it is full, or a line of another shape follows."""
        while self._waiting:
            batch = self._first()
            if len(batch) == len(self._waiting) < self._batch_size:
                return
            yield self._remove(batch)

    def rest(self) -> Iterator[list[WaitingLine[Job]]]:
        """Remove and yield all batches."""
        while self._waiting:
            yield self._remove(self._first())

    def _first(self) -> list[WaitingLine[Job]]:
        _, lines = next(groupby(self._waiting[: self._batch_size], key=lambda line: line.pixels.shape))
        return list(lines)

    def _remove(self, batch: list[WaitingLine[Job]]) -> list[WaitingLine[Job]]:
        del self._waiting[: len(batch)]
        return batch


def stack_pixels(batch: list[WaitingLine[Job]]) -> torch.Tensor:
    """The pixel values (B, 3, h, w) of a batch."""
    return torch.from_numpy(np.stack([line.pixels for line in batch]))
