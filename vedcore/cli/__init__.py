"""The command ``vedcore``, one module for each subcommand. A subcommand imports torch only when it runs."""

from vedcore.cli import compose, doctor, eval, inspect, new_plugin, plugins, read, train  # noqa: A004 (named as the command)
from vedcore.cli.app import app

__all__ = ["app", "compose", "doctor", "eval", "inspect", "main", "new_plugin", "plugins", "read", "train"]


def main() -> None:
    """Run the command."""
    app()
