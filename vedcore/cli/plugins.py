"""``vedcore plugins``: list the installed plugins."""

from __future__ import annotations

import sys

from vedcore.cli.app import Debug, app, reported_errors
from vedcore.cli.tables import WIDTH


@app.command()
def plugins(debug: Debug = False) -> None:
    """List every installed plugin with what it supplies, or with the reason why it is broken."""
    with reported_errors(debug):
        from rich.console import Console
        from rich.table import Column, Table
        from rich.text import Text

        from vedcore.registry import describe, registry

        table = Table(*(Column(title, overflow="fold") for title in ("name", "distribution", "version", "supplies")))
        for listing in registry().listings():
            own = [record for record in listing.records if record.name == listing.plugin.name]
            supplied = ", ".join(map(describe, own or listing.records))
            state = Text(supplied) if listing.reason is None else Text(f"broken: {listing.reason}", style="red")
            plugin = listing.plugin
            table.add_row(*map(Text, (plugin.name, plugin.distribution, plugin.version)), state)
        Console(width=None if sys.stdout.isatty() else WIDTH).print(table)
