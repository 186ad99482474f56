"""``vedcore eval``: how well a checkpoint reads labelled images."""

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


class Form(StrEnum):
    """How a score is printed."""

    table = "table"
    json = "json"


@app.command("eval")
def evaluate(
    checkpoint: Annotated[str, typer.Argument(help="A folder, a hub id, or a checkpoint that a plugin ships.")],
    data: Annotated[
        str, typer.Argument(help="A folder of images beside a labels.jsonl, a labels.csv or one .txt an image.")
    ],
    beams: Annotated[int, typer.Option("--beams", min=1, help="Beams of the search; 1 is greedy.")] = 1,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images (or pieces) decoded at once.")] = 16,
    worst: Annotated[int, typer.Option("--worst", min=0, help="How many of the worst lines are shown.")] = 10,
    form: Annotated[Form, typer.Option("--format", "-f", help="How the score is printed.")] = Form.table,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file, not to stdout.")] = None,
    no_cut: Annotated[bool, typer.Option("--no-cut", help="Read long lines whole instead of cutting them.")] = False,
    debug: Debug = False,
) -> None:
    """Print error rates, exact lines, calibration of the confidence and lines a second."""
    with reported_errors(debug):
        from vedcore.reader import Reader
        from vedcore.training import Folder
        from vedcore.training import evaluate as score_of

        reader = Reader.load(checkpoint)
        score = score_of(reader, Folder(data), beams=beams, batch_size=batch_size, cut=not no_cut, worst=worst)
        text = json.dumps(score.to_dict(), indent=2, ensure_ascii=False) if form == Form.json else _table(score)
        if output is None:
            say(text)
        else:
            try:
                output.write_text(writable(text) + "\n", encoding="utf-8")
            except OSError as cause:
                raise VedcoreError(f"{output}: not written ({cause})") from cause
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
        f"lines a second        {score.lines_per_second:8.1f}",
        "",
        "confidence   lines   mean   exact",
        *(
            f"{b.low:.1f} to {b.high:.1f}  {b.lines:6}  {b.confidence:.3f}  {b.exact / b.lines:6.1%}"
            for b in score.bins
        ),
    ]
    if score.worst:
        lines += ["", "the worst lines (errors, confidence, file; the text, and what was read)"]
    for line in score.worst:
        lines += [f"{line.errors:3}  {line.confidence:.3f}  {line.source}", f"     {line.text}", f"     {line.read}"]
    return "\n".join(lines)
