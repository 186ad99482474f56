"""A user's data set whose every failure becomes an error of vedcore that names the data set."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vedcore.errors import ConfigError, TrainingError, VedcoreError, foreign
from vedcore.training.data.problem import Fault, Problem
from vedcore.training.data.sample import Dataset, Sample, is_valid_text


class BadSampleError(TrainingError):
    """A data set has no usable sample at an index; ``problem`` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem

    def __reduce__(self) -> tuple[Any, ...]:
        return BadSampleError, (self.problem,)


class ValidatedDataset:
    """A user's data set that raises only errors of vedcore, each with the ``name`` of the data set.

    Raises ConfigError if ``data`` has no usable length, and BadSampleError for an index at which ``data`` raises or returns
    anything but a valid Sample.
    """

    def __init__(self, data: Any, name: str) -> None:
        self.data, self.name = data, name
        with errors_named(name), foreign(ConfigError, "not a data set, which has len() and a Sample at each index"):
            self._length = len(data)
            self.problems = list(getattr(data, "problems", ()))
        if not all(isinstance(problem, Problem) for problem in self.problems):
            found = str(self.problems)[:80]
            raise ConfigError(
                f"{name}: its problems must be a list of Problem, got {found}",
                field="problems",
                expected="a list of Problem",
                found=found,
            )

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Sample:
        try:
            with _raise_as(TrainingError):
                sample = self.data[index]
        except VedcoreError as error:
            raise self._bad(index, f"{error}, {_location(error)}") from error
        if not isinstance(sample, Sample):
            raise self._bad(index, f"expected a Sample, found {type(sample).__name__}")
        for field in ("text", "source"):
            if not is_valid_text(value := getattr(sample, field)):
                raise self._bad(index, f"its {field} must be a string of whole characters, found {str(value)[:60]!r}")
        return sample

    def _bad(self, index: int, detail: str) -> BadSampleError:
        return BadSampleError(Problem(Fault.bad_sample, f"{self.name}, index {index}", detail))


def sample_at(data: Dataset, index: int) -> Sample | Problem:
    """``data[index]``, or the problem that the data set has at that index."""
    try:
        return data[index]
    except BadSampleError as error:
        return error.problem


@contextmanager
def errors_named(name: str) -> Iterator[None]:
    """Turn whatever a user's code raises into a ConfigError that starts with the ``name`` of that code."""
    try:
        with _raise_as(ConfigError):
            yield
    except VedcoreError as error:
        raise ConfigError(
            f"{name}: {error}",
            file=error.file,
            field=error.field,
            tensor=error.tensor,
            expected=error.expected,
            found=error.found,
        ) from error


@contextmanager
def _raise_as(error: type[VedcoreError]) -> Iterator[None]:
    """As ``foreign``, and also for SystemExit: a module that is a script must not end the run with exit code 0."""
    try:
        with foreign(error, "it raised"):
            yield
    except SystemExit as cause:
        raise error(f"it ended the program: SystemExit({cause})") from cause


def _location(error: BaseException) -> str:
    """File and line that raised the error, because the traceback does not leave a worker process."""
    last = traceback.extract_tb((error.__cause__ or error).__traceback__)[-1]
    return f"{last.filename}:{last.lineno}"
