"""The order of the samples: a pure function of the seed and of the position in the stage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import count

import numpy as np

LARGEST_SHUFFLE = 2**24
"""A larger data set is not shuffled: it is generated, so its order is random already, and a permutation would fill memory."""

_KEPT_SEED = 2**32 - 2


def sample_order(length: int, seed: tuple[int, ...], start: int, number: int) -> list[int]:
    """The sample indices at the positions ``start`` to ``start + number`` of an endless order of ``length`` samples.

    Each epoch contains every sample once, in a new order that follows from ``seed`` and the epoch.
    """
    positions = range(start, start + number)
    if length > LARGEST_SHUFFLE:
        return [position % length for position in positions]
    return [_shuffled(length, (*seed, position // length))[position % length] for position in positions]


def mixed_order(length: int, kept: int, share: float, seed: tuple[int, ...], start: int, number: int) -> list[int]:
    """As ``sample_order`` for ``length`` samples, followed by ``kept`` others that take ``share`` of the positions.

    The others are evenly spread: among any positions in a row their number differs from the share by less than 1. Both parts
    go through epochs of their own. The indices of the others start at ``length``.
    """
    if not kept:
        return sample_order(length, seed, start, number)
    order = []
    for position in range(start, start + number):
        before, after = int(position * share), int((position + 1) * share)  # others before this position, and after it
        if after > before:
            order.append(length + sample_order(kept, (*seed, _KEPT_SEED), before, 1)[0])
        else:
            order.append(sample_order(length, seed, position - before, 1)[0])
    return order


@lru_cache(maxsize=4)
def _shuffled(length: int, seed: tuple[int, ...]) -> list[int]:
    indices: list[int] = np.random.default_rng(seed).permutation(length).tolist()
    return indices


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSampler:
    """Yields the keys of each batch of a stage: pairs (sample index, position in the stage), which ``ExampleDataset`` takes.

    The samples of a step depend only on the seed and the number of the step.

    length: samples in the data set. kept, share: the number of further samples, which take ``share`` of the positions.
    seed: of the stage. start, steps: the first step and the end; None is endless.
    size: images per step. accumulation, rank, world: a step is ``accumulation`` batches in each of ``world`` processes.
    """

    length: int
    seed: tuple[int, ...]
    start: int
    steps: int | None
    size: int
    accumulation: int = 1
    rank: int = 0
    world: int = 1
    kept: int = 0
    share: float = 0.0

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        batch_size = self.size // (self.accumulation * self.world)
        for step in count(self.start) if self.steps is None else range(self.start, self.steps):
            for part in range(self.accumulation):
                first = step * self.size + (part * self.world + self.rank) * batch_size
                indices = mixed_order(self.length, self.kept, self.share, self.seed, first, batch_size)
                yield list(zip(indices, range(first, first + batch_size), strict=True))
