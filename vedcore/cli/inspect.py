"""``vedcore inspect``: show what a checkpoint holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from vedcore.cli.app import AllowPickle, Debug, app, reported_errors
from vedcore.cli.tables import say_json, say_table

if TYPE_CHECKING:
    from vedcore.diagnosis import IdEntry, Inspection

Size = tuple[int, int]


class Format(StrEnum):
    """The output format of the report."""

    table = "table"
    json = "json"


@app.command()
def inspect(
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="A folder, a hub id, or a checkpoint that a plugin ships.")
    ],
    form: Annotated[Format, typer.Option("--format", "-f", help="The output format.")] = Format.table,
    allow_pickle: AllowPickle = False,
    debug: Debug = False,
) -> None:
    """Show what a checkpoint holds: parts, sizes, token ids, untrained weights, missing and unexpected tensors.

    The checkpoint is a whole model, or only an encoder or a decoder. The weights are not loaded. Exit code 1 if a file
    cannot be read.
    """
    with reported_errors(debug):
        from vedcore.diagnosis import inspect as inspect_checkpoint

        report = inspect_checkpoint(checkpoint, allow_pickle=allow_pickle)
        if form is Format.json:
            say_json(report)
        else:
            show(report)
        if report.unread:
            raise typer.Exit(1)


def show(report: Inspection) -> None:
    """Print a report as two tables: the parts, and everything else."""
    columns = ("part", "model type", "served by", "parameters", "type", "size")
    say_table(
        columns,
        (
            (
                part.name,
                part.model_type or "",
                part.served_by or "",
                "" if part.parameters is None else f"{part.parameters:,}",
                ", ".join(part.dtypes),
                "" if part.nbytes is None else _bytes(part.nbytes),
            )
            for part in report.parts
        ),
    )
    say_table(("what", "value"), ((what, value) for what, value in _facts(report) if value))


def _facts(report: Inspection) -> Iterator[tuple[str, str]]:
    yield "weights", ", ".join(f"{name} {_bytes(size)}" for name, size in report.files.items())
    yield "image size", _sizes(report.image_size, report.processor_size)
    yield "vocabulary", "" if report.vocabulary is None else f"{report.vocabulary:,}"
    yield "tokenizer", "" if report.tokenizer_size is None else f"{report.tokenizer_size:,} tokens"
    yield "positions", "" if report.positions is None else f"{report.positions:,}"
    for name in dict.fromkeys(entry.name for entry in report.ids):
        yield name, _ids([entry for entry in report.ids if entry.name == name])
    yield "generation", ", ".join(f"{name} {value}" for name, value in report.generation.items())
    yield "adapter", report.adapter or ""
    yield "layout", report.layout or ""
    yield "long lines are cut", ", ".join(f"{name} {value!r}" for name, value in (report.cut or {}).items())
    yield "untrained", grouped(report.untrained)
    yield "missing", ", ".join(report.missing)
    yield "unexpected", ", ".join(report.unexpected)
    yield "of another shape", "; ".join(report.misshaped)
    yield "contradictory", "; ".join(report.other)
    for failure in report.unread:
        yield f"unread: {failure.what}", failure.reason


def grouped(names: Iterable[str]) -> str:
    """The number of parameters in each module: "48 in decoder.cross"."""
    groups = Counter(".".join(name.split(".")[:2]) for name in names)
    return ", ".join(f"{count} in {group}" for group, count in groups.items())


def _sizes(encoder: Size | None, processor: Size | None) -> str:
    sizes = ((encoder, "(encoder)"), (processor, "(image processor)"))
    return ", ".join(f"{size[0]} x {size[1]} {owner}" for size, owner in sizes if size is not None)


def _ids(entries: list[IdEntry]) -> str:
    """Each value with the files that set it: "2 </s>: config.json, tokenizer"."""
    values = {str(entry.value): entry for entry in entries}
    shown = []
    for value, entry in values.items():
        places = ", ".join(other.place for other in entries if str(other.value) == value)
        shown.append(f"{value} {entry.token or '?'}: {places}")
    return "; ".join(shown)


def _bytes(count: int) -> str:
    """1234567 -> "1.2 MB"."""
    size, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):  # noqa: B007 (the last one is used)
        if size < 1000:
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
