"""``vedcore new-plugin``: the package of a plugin, ready to fill in."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vedcore.cli.app import Debug, app, say, told


class Role(StrEnum):
    """What a new plugin may supply."""

    encoder = "encoder"
    decoder = "decoder"
    adapter = "adapter"


@app.command()
def new_plugin(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What config.json will name it by: my-encoder.")],
    role: Annotated[Role, typer.Option("--role", help="What it supplies.")],
    into: Annotated[Path, typer.Option("--into", help="The folder to write vedcore-plugin-NAME into.")] = Path(),
    debug: Debug = False,
) -> None:
    """Write the package of a new plugin: small, working, with the places to fill in marked."""
    with told(debug):
        from vedcore.cli import scaffold

        folder = scaffold.new_plugin(name, role, into)
        say(f"{folder} is written. Next:")
        say(f"  pip install -e '{folder}[test]'")
        say(f"  python -m pytest {folder}")
        say(f"  grep -rn 'Replace this' {folder}")
