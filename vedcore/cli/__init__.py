"""The command ``vedcore``: a module for each of its commands. What needs torch is imported when a command runs."""

from vedcore.cli import new_plugin, plugins, read
from vedcore.cli.app import app

__all__ = ["app", "main", "new_plugin", "plugins", "read"]


def main() -> None:
    """Run the command."""
    app()
