"""What the commands share: the application, the common options, and how text and errors are printed.

Exit codes: 0 success, 1 a part of the request failed, 2 the request cannot be followed, 130 interrupted.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
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
    bool, typer.Option("--allow-pickle", help="Also read weights from *.bin files. Use it only for files you trust.")
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        max=1024,
        help="The number of threads. By default OMP_NUM_THREADS, or else what a measurement of some milliseconds finds best.",
    ),
]

LabelEncoding = Annotated[
    str, typer.Option("--encoding", help="The encoding of the labels: utf-8, latin-1, or cp1252 (Latin-1 of Windows).")
]


def writable(text: str, encoding: str | None = "utf-8") -> str:
    r"""``text`` with an escape for every character that ``encoding`` cannot represent.

    UTF-8 cannot represent lone surrogates. Each stands for a byte of a file name that is not UTF-8 and becomes ``\udcff``:
    JSON reads this back as the original name, and in other formats it shows the byte instead of losing the line.
    """
    encoding = encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


# A file could contain escape sequences that control the terminal. The escapes are JSON's, so that JSON stays valid.
_CONTROLS = {code: f"\\u{code:04x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}


def escape_controls(text: str) -> str:
    """``text`` with an escape for every control character except tab and newline."""
    return text.translate(_CONTROLS)


def say(text: str, *, err: bool = False) -> None:
    """Print a line to stdout, or to stderr with ``err``."""
    typer.echo(writable(escape_controls(text), (sys.stderr if err else sys.stdout).encoding), err=err)


@contextmanager
def reported_errors(debug: bool) -> Iterator[None]:
    """Print a VedcoreError or an OSError as one line on stderr instead of a traceback, and exit with code 2.

    Notes that a command adds to the error (``error.add_note``) follow, one line each. Warnings are printed as lines too.
    Ctrl-C exits with code 130. With ``debug`` the error is raised.
    """
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: say(f"vedcore: {message}", err=True)
            yield
    except (VedcoreError, OSError) as error:  # OSError: a name that is too long, a folder without permission
        if debug or isinstance(error, BrokenPipeError):
            raise
        for line in (error, *getattr(error, "__notes__", ())):
            say(f"vedcore: {line}", err=True)
        raise typer.Exit(2) from error
    except KeyboardInterrupt as error:
        say("vedcore: interrupted", err=True)
        raise typer.Exit(130) from error


def _print_version(wanted: bool) -> None:
    if wanted:
        from vedcore import __version__

        typer.echo(f"vedcore {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Read text from images, with any image encoder and any text decoder."""
