"""``vedcore read``: read the text in images."""

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

from vedcore.cli.app import Debug, app, progress, reported_errors, say, writable
from vedcore.cli.tables import table
from vedcore.errors import ImageError, VedcoreError

if TYPE_CHECKING:
    from vedcore.reader import Reading

IMAGE_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp"}


class Format(StrEnum):
    """The output format of readings."""

    table = "table"
    text = "text"
    jsonl = "jsonl"
    csv = "csv"


SUFFIXES = {".csv": Format.csv, ".jsonl": Format.jsonl, ".txt": Format.text}
"""The default format for each suffix of --output."""


@app.command()
def read(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Image files, folders of images, or - for stdin.")
    ],
    model: Annotated[
        str, typer.Option("--model", "-m", help="A folder, a hub id, or a checkpoint that a plugin ships.")
    ] = "line-reader",
    beams: Annotated[int, typer.Option("--beams", min=1, help="The number of beams; 1 is greedy decoding.")] = 1,
    batch_size: Annotated[
        int,
        typer.Option("--batch-size", min=1, help="The number of images, or pieces of them, that are decoded at once."),
    ] = 16,
    form: Annotated[
        Format | None,
        typer.Option("--format", "-f", help="The output format. By default the suffix of --output decides, or table."),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file instead of stdout.")] = None,
    no_cut: Annotated[bool, typer.Option("--no-cut", help="Read long lines whole instead of cutting them.")] = False,
    debug: Debug = False,
) -> None:
    """Read the text in images."""
    with reported_errors(debug):
        sources, empty_folders = _find_images(paths)
        form = form or SUFFIXES.get("" if output is None else output.suffix.lower(), Format.table)
        from vedcore.reader import Reader

        reader = Reader.load(model)
        names = [name for name, _ in sources]
        fields: dict[str, Any] = {"num_beams": beams} if beams > 1 else {}
        results = reader.each((content for _, content in sources), batch_size=batch_size, cut=not no_cut, **fields)
        failed = empty_folders

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
            _open_output(output, [path for _, path in sources if isinstance(path, Path)]) as write,
            progress("reading", len(names)) as advance,
        ):
            for text in FORMATTERS[form](readings(advance), output is None and sys.stdout.isatty()):
                write(text)
        if failed:
            raise typer.Exit(1)


def _find_images(paths: Iterable[str]) -> tuple[list[tuple[str, Any]], int]:
    """The images that the arguments name, as (name, path or bytes), and the number of folders without images."""
    sources: list[tuple[str, Any]] = []
    empty_folders = 0
    for text in paths:
        path = Path(text)
        if text == "-":
            sources.append(("-", sys.stdin.buffer.read()))
        elif os.path.isdir(text):  # unlike Path.is_dir, no error for a name that is too long
            found = sorted(file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
            if not found:
                empty_folders += 1
                say(f"vedcore: {path}: no images in this folder", err=True)
            sources += [(str(file), file) for file in found]
        else:
            sources.append((text, path))
    return sources, empty_folders


@contextmanager
def _open_output(output: Path | None, images: Iterable[Path]) -> Iterator[Callable[[str], None]]:
    """Yield a function that writes text at once to ``output`` or stdout. A terminal gets all text at the end.

    Raises VedcoreError if ``output`` cannot be written or is one of the ``images``.
    """
    if output is None:
        stdout, collected = sys.stdout, io.StringIO()
        stream = collected if stdout.isatty() else stdout  # the progress bar would overwrite lines of a terminal
        try:
            yield lambda text: _write(text, stream, stdout.encoding)
        finally:
            stdout.write(collected.getvalue())
        return
    if output.resolve() in map(Path.resolve, images):
        raise VedcoreError(
            f"{output}: not written, because it is one of the images; choose another --output", file=output
        )
    try:
        file = output.open("w", encoding="utf-8", newline="")
    except OSError as cause:
        raise VedcoreError(f"{output}: not written ({cause})", file=output) from cause
    with file:

        def write(text: str) -> None:
            try:
                _write(text, file, "utf-8")
            except OSError as cause:
                raise VedcoreError(f"{output}: written only in part ({cause})", file=output) from cause

        yield write


def _write(text: str, stream: TextIO, encoding: str | None) -> None:
    stream.write(writable(text, encoding))
    stream.flush()


def _table(readings: Iterable[tuple[str, Reading]], terminal: bool) -> Iterator[str]:
    rows = [(name, reading.text, f"{reading.confidence:.3f}", reading.stop_reason) for name, reading in readings]
    if rows:
        yield table(("image", "text", "confidence", "stop"), rows, terminal=terminal)


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


FORMATTERS = {Format.table: _table, Format.text: _text, Format.jsonl: _jsonl, Format.csv: _csv}
"""Functions (name and reading of each image, whether the output is a terminal) -> text, for each format."""
