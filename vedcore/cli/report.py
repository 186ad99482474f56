"""How the commands print a report: as a table, as lines, or as JSON."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import typer

from vedcore.cli.app import plain, say, writable


def say_json(report: Any) -> None:
    """Print a dataclass, or a list of them, as JSON."""
    data = [dataclasses.asdict(item) for item in report] if isinstance(report, list) else dataclasses.asdict(report)
    say(json.dumps(data, indent=2))


def say_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table of plain text whose long cells are folded; on a terminal as wide as that is."""
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    lines = box.HEAVY_HEAD if (sys.stdout.encoding or "utf-8").lower().startswith("utf") else box.ASCII
    table = Table(*(Column(title, overflow="fold") for title in columns), box=lines)
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    stream, terminal = io.StringIO(), sys.stdout.isatty()
    Console(file=stream, force_terminal=terminal, width=None if terminal else 160).print(table)
    # Not by say: on a terminal the table has styles, which are control characters.
    typer.echo(writable(stream.getvalue(), sys.stdout.encoding), nl=False)
