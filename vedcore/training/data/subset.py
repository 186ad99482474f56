"""Parts of a data set, and two data sets as one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from vedcore.training.data.problem import Problem
from vedcore.training.data.sample import Dataset, Sample
from vedcore.training.data.validated import sample_at


class Subset:
    """The samples of ``data`` at ``indices``."""

    def __init__(self, data: Dataset, indices: Sequence[int]) -> None:
        self.data, self.indices = data, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        return self.data[self.indices[index]]


class Joined:
    """The samples of ``first``, then those of ``second``."""

    def __init__(self, first: Dataset, second: Dataset) -> None:
        self.first, self.second = first, second

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def __getitem__(self, index: int) -> Sample:
        length = len(self.first)
        return self.first[index] if index < length else self.second[index - length]


class UsableSubset:
    """The samples of ``data`` that can be read; the others are in ``problems``.

    The first use reads every sample once. With this an evaluation counts bad samples and continues.
    """

    def __init__(self, data: Dataset) -> None:
        self.data = data

    @cached_property
    def _read(self) -> tuple[list[int], list[Problem]]:
        problems = {i: found for i in range(len(self.data)) if isinstance(found := sample_at(self.data, i), Problem)}
        return [index for index in range(len(self.data)) if index not in problems], list(problems.values())

    @property
    def problems(self) -> list[Problem]:
        """One problem for each sample that cannot be read."""
        return self._read[1]

    def __len__(self) -> int:
        return len(self._read[0])

    def __getitem__(self, index: int) -> Sample:
        return self.data[self._read[0][index]]
