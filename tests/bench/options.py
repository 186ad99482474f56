"""What the command line chooses, and the parts of the benchmark that it chooses from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.bench.checkpoints import Checkpoints
from tests.bench.results import Result


@dataclass(frozen=True)
class Options:
    """only: measure the cases whose name contains this. repeats: rounds for each case; None chooses by the case's time."""

    checkpoints: Checkpoints
    only: str = ""
    repeats: int | None = None


@dataclass(frozen=True)
class Part:
    """A table: its title, its columns, and the function that measures its cases one after the other."""

    title: str
    measures: tuple[str, ...]
    run: Callable[[Options], Iterator[Result]]
