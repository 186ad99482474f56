"""Print a report as a table or as JSON."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import typer

from vedcore.cli.app import escape_controls, say, writable

WIDTH = 160
"""The width of a table that is not printed to a terminal."""


def say_json(report: Any) -> None:
    """Print a dataclass or a list of dataclasses as JSON."""
    data = [dataclasses.asdict(item) for item in report] if isinstance(report, list) else dataclasses.asdict(report)
    say(json.dumps(data, indent=2))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, terminal: bool) -> str:
    """A table whose long cells are folded; with styles and the width of the terminal if it is for a ``terminal``.

    Control characters in the cells are escaped, and markup is shown literally.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    lines = box.HEAVY_HEAD if (sys.stdout.encoding or "utf-8").lower().startswith("utf") else box.ASCII
    drawn = Table(*(Column(title, overflow="fold") for title in columns), box=lines)
    for row in rows:
        drawn.add_row(*(Text(escape_controls(cell)) for cell in row))
    stream = io.StringIO()
    Console(file=stream, force_terminal=terminal, width=None if terminal else WIDTH).print(drawn)
    return stream.getvalue()


def say_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table to stdout."""
    # Not with say(): it would escape the styles of a table for a terminal.
    typer.echo(writable(table(columns, rows, terminal=sys.stdout.isatty()), sys.stdout.encoding), nl=False)
