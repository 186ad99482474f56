"""The command ``vedcore``: a module for each of its commands. What needs torch is imported when a command runs."""

from vedcore.cli import compose, doctor, eval, inspect, new_plugin, plugins, read, train  # noqa: A004 (named as the command)
from vedcore.cli.app import app

__all__ = ["app", "compose", "doctor", "eval", "inspect", "main", "new_plugin", "plugins", "read", "train"]


def main() -> None:
    """Run the command."""
    app()
