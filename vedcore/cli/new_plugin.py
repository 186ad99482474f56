"""``vedcore new-plugin``: write the package of a new plugin."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vedcore.cli.app import Debug, app, reported_errors, say


class Role(StrEnum):
    """The kind of model or adapter that a new plugin supplies."""

    encoder = "encoder"
    decoder = "decoder"
    adapter = "adapter"


@app.command()
def new_plugin(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The name that config.json will use, for example my-encoder.")
    ],
    role: Annotated[Role, typer.Option("--role", help="What it supplies.")],
    into: Annotated[Path, typer.Option("--into", help="The folder in which to create vedcore-plugin-NAME.")] = Path(),
    debug: Debug = False,
) -> None:
    """Write the package of a new plugin: small and working, with the places to change marked."""
    with reported_errors(debug):
        from vedcore.cli import scaffold

        folder = scaffold.new_plugin(name, role, into)
        say(f"{folder} is written. Next:")
        say(f"  pip install -e '{folder}[test]'")
        say(f"  python -m pytest {folder}")
        say(f"  grep -rn 'Replace this' {folder}")
