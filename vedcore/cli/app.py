"""What the commands share: the application, and how an error is told.

Exit codes: 0 all well, 1 some of what was asked could not be done, 2 the request cannot be followed.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from vedcore.errors import VedcoreError

app = typer.Typer(
    name="vedcore",
    help="Read text from images, with any image encoder and any text decoder.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Debug = Annotated[bool, typer.Option("--debug", help="Show the whole traceback of an error.")]
AllowPickle = Annotated[
    bool, typer.Option("--allow-pickle", help="Read weights of *.bin files too, if you trust them.")
]


def writable(text: str, encoding: str | None = "utf-8") -> str:
    r"""``text`` with an escape for whatever ``encoding`` lacks, in every output and every file that a command writes.

    UTF-8 lacks lone surrogates alone: each is a byte of a file's name that is not UTF-8, and becomes ``\udcff``. From JSON
    that reads back as the very name; elsewhere it shows the byte, as a line must not be lost for it.
    """
    encoding = encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


# A file's names may be written to command a terminal. As JSON writes them, so that JSON stays JSON.
_CONTROLS = {code: f"\\u{code:04x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}


def plain(text: str) -> str:
    """``text`` with an escape for each control character but tabs and newlines."""
    return text.translate(_CONTROLS)


def say(text: str, *, err: bool = False) -> None:
    """Print a line."""
    typer.echo(writable(plain(text), (sys.stderr if err else sys.stdout).encoding), err=err)


@contextmanager
def told(debug: bool) -> Iterator[None]:
    """A warning is one line on stderr, as is an error that vedcore foresees, with exit code 2; Ctrl-C is exit code 130."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: say(f"vedcore: {message}", err=True)
            yield
    except (VedcoreError, OSError) as error:  # the latter: a name that is too long, a folder that may not be entered
        if debug or isinstance(error, BrokenPipeError):
            raise
        say(f"vedcore: {error}", err=True)
        raise typer.Exit(2) from error
    except KeyboardInterrupt as error:
        say("vedcore: interrupted", err=True)
        raise typer.Exit(130) from error


def _tell_version(asked: bool) -> None:
    if asked:
        from vedcore import __version__

        typer.echo(f"vedcore {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", is_eager=True, callback=_tell_version)
    ] = False,
) -> None:
    """Read text from images, with any image encoder and any text decoder."""


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[], None]]:
    """A function to call after each of ``total`` items; a bar on stderr where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (title, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda: bar.advance(task)
