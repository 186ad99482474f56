"""``vedcore doctor``: find the problems of a checkpoint and name the fixes."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from vedcore.cli.app import AllowPickle, Debug, LabelEncoding, app, reported_errors, say
from vedcore.cli.tables import say_json

if TYPE_CHECKING:
    from vedcore.training.data.stored import Stored


class Format(StrEnum):
    """The output format of findings."""

    text = "text"
    json = "json"


@app.command()
def doctor(
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="A folder, a hub id, or a checkpoint that a plugin ships.")
    ],
    data: Annotated[
        str | None,
        typer.Option(
            "--data", "-d", help="Labelled lines, as for 'vedcore train', to check whether the model can learn them."
        ),
    ] = None,
    encoding: LabelEncoding = "utf-8",
    form: Annotated[Format, typer.Option("--format", "-f", help="The output format.")] = Format.text,
    allow_pickle: AllowPickle = False,
    debug: Debug = False,
) -> None:
    """Find the problems of a checkpoint and name the fixes.

    Checks files, weights, image processor, tokenizer, token ids and generation settings; then the model reads a blank and
    a noise image. With --data, checks labelled lines too. Exit code 0 if there are no findings, 1 if there are some.
    """
    with reported_errors(debug):
        from vedcore.diagnosis import diagnose

        findings = diagnose(checkpoint, allow_pickle=allow_pickle, data=_open_data(data, encoding))
        if form is Format.json:
            say_json(findings)
        else:
            for finding in findings:
                say(f"{finding.severity} ({finding.concern}): {finding.problem}\n  fix: {finding.fix}")
            if not findings:
                say(f"{checkpoint}: nothing found")
        if findings:
            raise typer.Exit(1)


def _open_data(data: str | None, encoding: str) -> Stored | None:
    if data is None:
        return None
    from vedcore.training.data.stored import open_stored

    return open_stored(data, encoding)
