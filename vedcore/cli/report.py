"""How the commands print a report: as a table, as lines, or as JSON."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from vedcore.cli.app import say


def say_json(report: Any) -> None:
    """Print a dataclass, or a list of them, as JSON."""
    plain = [dataclasses.asdict(item) for item in report] if isinstance(report, list) else dataclasses.asdict(report)
    say(json.dumps(plain, indent=2))


def say_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table of plain text whose long cells are folded; on a terminal as wide as that is."""
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    lines = box.HEAVY_HEAD if (sys.stdout.encoding or "utf-8").lower().startswith("utf") else box.ASCII
    table = Table(*(Column(title, overflow="fold") for title in columns), box=lines)
    for row in rows:
        table.add_row(*map(Text, row))
    stream, terminal = io.StringIO(), sys.stdout.isatty()
    Console(file=stream, force_terminal=terminal, width=None if terminal else 160).print(table)
    say(stream.getvalue().removesuffix("\n"))
