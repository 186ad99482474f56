"""``vedcore inspect``: what a checkpoint holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from vedcore.cli.app import AllowPickle, Debug, app, told
from vedcore.cli.report import say_json, say_table

if TYPE_CHECKING:
    from vedcore.diagnosis.inspect import Inspection, SaidId

Size = tuple[int, int]


class Format(StrEnum):
    """How the report is printed."""

    table = "table"
    json = "json"


@app.command()
def inspect(
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="A folder, a hub id, or a checkpoint that a plugin ships.")
    ],
    form: Annotated[Format, typer.Option("--format", "-f", help="How the report is printed.")] = Format.table,
    allow_pickle: AllowPickle = False,
    debug: Debug = False,
) -> None:
    """Tell what a checkpoint holds: parts, sizes, token ids, what is untrained, what is missing or too much.

    A whole model, or an encoder or a decoder alone; the weights are not loaded. Exit code 1 if a file cannot be read.
    """
    with told(debug):
        from vedcore.diagnosis.inspect import inspect

        report = inspect(checkpoint, allow_pickle=allow_pickle)
        if form is Format.json:
            say_json(report)
        else:
            show(report)
        if report.unread:
            raise typer.Exit(1)


def show(report: Inspection) -> None:
    """Print a report as two tables: the parts, and all else."""
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
    for name in dict.fromkeys(said.name for said in report.ids):
        yield name, _ids([said for said in report.ids if said.name == name])
    yield "generation", ", ".join(f"{name} {value}" for name, value in report.generation.items())
    yield "adapter", report.adapter or ""
    yield "long lines are cut", ", ".join(f"{name} {value!r}" for name, value in (report.cut or {}).items())
    yield "untrained", grouped(report.untrained)
    yield "missing", ", ".join(report.missing)
    yield "unexpected", ", ".join(report.unexpected)
    yield "of another shape", "; ".join(report.misshaped)
    yield "contradictory", "; ".join(report.other)
    for unread in report.unread:
        yield f"unread: {unread.what}", unread.reason


def grouped(names: Iterable[str]) -> str:
    """Parameters by the module that they belong to: "48 in decoder.cross"."""
    groups = Counter(".".join(name.split(".")[:2]) for name in names)
    return ", ".join(f"{count} in {group}" for group, count in groups.items())


def _sizes(encoder: Size | None, processor: Size | None) -> str:
    said = [
        f"{size[0]} x {size[1]} {whose}"
        for size, whose in ((encoder, "(encoder)"), (processor, "(image processor)"))
        if size is not None
    ]
    return ", ".join(said)


def _ids(said: list[SaidId]) -> str:
    """What is said, each value with the places that say it."""
    values = {str(item.value): item for item in said}
    told = []
    for text, item in values.items():
        places = ", ".join(other.place for other in said if str(other.value) == text)
        told.append(f"{text} {item.token or '?'}: {places}")
    return "; ".join(told)


def _bytes(count: int) -> str:
    """1234567 -> "1.2 MB"."""
    size, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):  # noqa: B007 (the last one is used)
        if size < 1000:
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
