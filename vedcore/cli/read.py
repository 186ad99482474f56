"""``vedcore read``: the text in images."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from vedcore.cli.app import Debug, app, plain, progress, say, told, writable
from vedcore.errors import ImageError, VedcoreError

if TYPE_CHECKING:
    from vedcore.reader import Reading

IMAGE_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp"}


class Format(StrEnum):
    """How readings are printed."""

    table = "table"
    text = "text"
    jsonl = "jsonl"
    csv = "csv"


SUFFIXES = {".csv": Format.csv, ".jsonl": Format.jsonl, ".txt": Format.text}
"""The formats that a file's name asks for."""


@app.command()
def read(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Image files, folders of them, or - for stdin.")
    ],
    model: Annotated[
        str, typer.Option("--model", "-m", help="A folder, a hub id, or a checkpoint that a plugin ships.")
    ] = "line-reader",
    beams: Annotated[int, typer.Option("--beams", min=1, help="Beams of the search; 1 is greedy.")] = 1,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images (or pieces) decoded at once.")] = 16,
    form: Annotated[
        Format | None,
        typer.Option("--format", "-f", help="How readings are printed; else as the name of --output says, or a table."),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file, not to stdout.")] = None,
    no_cut: Annotated[bool, typer.Option("--no-cut", help="Read long lines whole instead of cutting them.")] = False,
    debug: Debug = False,
) -> None:
    """Read the text in images."""
    with told(debug):
        sources, empty = _sources(paths)
        form = form or SUFFIXES.get("" if output is None else output.suffix.lower(), Format.table)
        from vedcore.reader import Reader

        reader = Reader.load(model)
        names = [name for name, _ in sources]
        fields = {"num_beams": beams} if beams > 1 else {}
        results = reader.each((content for _, content in sources), batch_size=batch_size, cut=not no_cut, **fields)
        failed = empty

        def readings(advance: Callable[[], None]) -> Iterator[tuple[str, Reading]]:
            nonlocal failed
            for name, result in zip(names, results, strict=True):
                if isinstance(result, ImageError):
                    failed += 1
                    say(f"vedcore: {result}", err=True)
                else:
                    yield name, result
                advance()

        with (
            _opened(output, [path for _, path in sources if isinstance(path, Path)]) as write,
            progress("reading", len(names)) as advance,
        ):
            for rows in WRITERS[form](readings(advance), output is None and sys.stdout.isatty()):
                write(rows)
        if failed:
            raise typer.Exit(1)


def _sources(paths: Iterable[str]) -> tuple[list[tuple[str, Any]], int]:
    """The images that the arguments name (what to call it, what to read), and how many folders have none."""
    sources: list[tuple[str, Any]] = []
    empty = 0
    for text in paths:
        path = Path(text)
        if text == "-":
            sources.append(("-", sys.stdin.buffer.read()))
        elif os.path.isdir(text):  # unlike Path.is_dir, no error for a name that is too long
            found = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
            if not found:
                empty += 1
                say(f"vedcore: {path}: no images in this folder", err=True)
            sources += [(str(file), file) for file in found]
        else:
            sources.append((text, path))
    return sources, empty


@contextmanager
def _opened(output: Path | None, images: Iterable[Path]) -> Iterator[Callable[[str], None]]:
    """What writes rows as they come: to ``output``, or to stdout, which if it is a terminal gets them all at the end.

    Raises VedcoreError where ``output`` cannot be written, or is one of the ``images``.
    """
    if output is None:
        stdout, kept = sys.stdout, io.StringIO()
        stream = kept if stdout.isatty() else stdout  # above a bar they would be torn
        try:
            yield lambda rows: _write(rows, stream, stdout.encoding)
        finally:
            stdout.write(kept.getvalue())
        return
    if output.resolve() in map(Path.resolve, images):
        raise VedcoreError(f"{output}: not written, for it is one of the images; choose another --output")
    try:
        file = output.open("w", encoding="utf-8", newline="")
    except OSError as cause:
        raise VedcoreError(f"{output}: not written ({cause})") from cause
    with file:

        def write(rows: str) -> None:
            try:
                _write(rows, file, "utf-8")
            except OSError as cause:
                raise VedcoreError(f"{output}: not written to its end ({cause})") from cause

        yield write


def _write(rows: str, stream: TextIO, encoding: str | None) -> None:
    stream.write(writable(rows, encoding))
    stream.flush()


def _table(readings: Iterable[tuple[str, Reading]], terminal: bool) -> Iterator[str]:
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    lines = box.HEAVY_HEAD if (sys.stdout.encoding or "utf-8").lower().startswith("utf") else box.ASCII
    columns = (Column(title, overflow="fold") for title in ("image", "text", "confidence", "stop"))
    table = Table(*columns, box=lines)
    for name, reading in readings:
        table.add_row(Text(plain(name)), Text(plain(reading.text)), f"{reading.confidence:.3f}", reading.stop_reason)
    if table.row_count:
        stream = io.StringIO()
        Console(file=stream, force_terminal=terminal, width=None if terminal else 160).print(table)
        yield stream.getvalue()


def _text(readings: Iterable[tuple[str, Reading]], _: bool) -> Iterator[str]:
    return (f"{reading.text}\n" for _, reading in readings)


def _jsonl(readings: Iterable[tuple[str, Reading]], _: bool) -> Iterator[str]:
    def row(name: str, reading: Reading) -> dict[str, Any]:
        pieces = [{"box": piece.box, "text": piece.text} for piece in reading.pieces]
        return {
            "file": name,
            "text": reading.text,
            "confidence": round(reading.confidence, 6),
            "stop_reason": reading.stop_reason,
            "token_ids": reading.token_ids,
            "token_logprobs": [round(value, 6) for value in reading.token_logprobs],
            "pieces": pieces,
        }

    return (json.dumps(row(*item), ensure_ascii=False) + "\n" for item in readings)


def _csv(readings: Iterable[tuple[str, Reading]], _: bool) -> Iterator[str]:
    def row(*cells: str) -> str:
        stream = io.StringIO()
        csv.writer(stream, lineterminator="\n").writerow(cells)
        return stream.getvalue()

    yield row("file", "text", "confidence", "stop_reason")
    for name, reading in readings:
        yield row(name, reading.text, f"{reading.confidence:.6f}", reading.stop_reason)


WRITERS = {Format.table: _table, Format.text: _text, Format.jsonl: _jsonl, Format.csv: _csv}
