"""The progress bar of ``vedcore read``: pages and lines."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReadingProgress:
    """Functions that move the bar. add: more pages were found. advance: a page with so many lines is done."""

    add: Callable[[int], None]
    advance: Callable[[int], None]


@contextmanager
def reading_progress(pages: int) -> Iterator[ReadingProgress]:
    """Yield the functions that move a bar of at least ``pages`` pages; the bar is shown if stderr is a terminal."""
    if not sys.stderr.isatty():
        yield ReadingProgress(add=lambda pages: None, advance=lambda lines: None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        "reading",
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("pages, {task.fields[lines]} lines"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=pages, lines=0)

        def add(more: int) -> None:
            bar.update(task, total=(bar.tasks[task].total or 0) + more)

        def advance(lines: int) -> None:
            bar.update(task, advance=1, lines=bar.tasks[task].fields["lines"] + lines)

        yield ReadingProgress(add, advance)
