"""``vedcore eval``: measure how well a checkpoint reads labelled images."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vedcore.cli.app import Debug, app, reported_errors, say, writable
from vedcore.errors import VedcoreError

if TYPE_CHECKING:
    from vedcore.training import Score


class OutputFormat(StrEnum):
    """The output formats of a score."""

    table = "table"
    json = "json"


@app.command("eval")
def evaluate(
    checkpoint: Annotated[str, typer.Argument(help="A folder, a hub id, or a checkpoint that a plugin ships.")],
    data: Annotated[
        str, typer.Argument(help="A folder of images with a labels.jsonl, a labels.csv, or one .txt file per image.")
    ],
    beams: Annotated[int, typer.Option("--beams", min=1, help="The number of beams; 1 is greedy decoding.")] = 1,
    batch_size: Annotated[
        int,
        typer.Option("--batch-size", min=1, help="The number of images, or pieces of them, that are decoded at once."),
    ] = 16,
    worst: Annotated[int, typer.Option("--worst", min=0, help="The number of worst lines to show.")] = 10,
    form: Annotated[
        OutputFormat, typer.Option("--format", "-f", help="The format of the output.")
    ] = OutputFormat.table,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file instead of stdout.")] = None,
    no_cut: Annotated[bool, typer.Option("--no-cut", help="Read long lines whole instead of cutting them.")] = False,
    debug: Debug = False,
) -> None:
    """Print error rates, exact lines, calibration of the confidence, and speed."""
    with reported_errors(debug):
        from vedcore.reader import Reader
        from vedcore.training import Folder
        from vedcore.training import evaluate as score_of

        reader = Reader.load(checkpoint)
        score = score_of(reader, Folder(data), beams=beams, batch_size=batch_size, cut=not no_cut, worst=worst)
        text = json.dumps(score.to_dict(), indent=2, ensure_ascii=False) if form == OutputFormat.json else _table(score)
        if output is None:
            say(text)
        else:
            try:
                output.write_text(writable(text) + "\n", encoding="utf-8")
            except OSError as cause:
                raise VedcoreError(f"{output}: not written ({cause})", file=output) from cause
        for problem in score.problems:
            say(f"vedcore: {problem}", err=True)
        if score.problems:
            raise typer.Exit(1)


def _table(score: Score) -> str:
    lines = [
        f"character error rate  {score.cer:8.2%}",
        f"word error rate       {score.wer:8.2%}",
        f"exact lines           {score.exact:5} of {score.lines}",
        f"calibration error     {score.calibration_error:8.3f}",
        f"lines per second      {score.lines_per_second:8.1f}",
        "",
        "confidence   lines   mean   exact",
        *(
            f"{b.low:.1f} to {b.high:.1f}  {b.lines:6}  {b.confidence:.3f}  {b.exact / b.lines:6.1%}"
            for b in score.bins
        ),
    ]
    if score.worst:
        lines += ["", "the worst lines (errors, confidence, file; the label; the reading)"]
    for line in score.worst:
        lines += [f"{line.errors:3}  {line.confidence:.3f}  {line.source}", f"     {line.text}", f"     {line.read}"]
    return "\n".join(lines)
