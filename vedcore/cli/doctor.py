"""``vedcore doctor``: what is wrong with a checkpoint, and the fix."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from vedcore.cli.app import AllowPickle, Debug, app, say, told
from vedcore.cli.report import say_json


class Format(StrEnum):
    """How findings are printed."""

    text = "text"
    json = "json"


@app.command()
def doctor(
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="A folder, a hub id, or a checkpoint that a plugin ships.")
    ],
    form: Annotated[Format, typer.Option("--format", "-f", help="How findings are printed.")] = Format.text,
    allow_pickle: AllowPickle = False,
    debug: Debug = False,
) -> None:
    """Look for what is wrong with a checkpoint, and say what to do.

    Files, weights, image processor, tokenizer, token ids, generation settings, and a dry run on a blank and on a noise
    image. Exit code 0 if nothing is found, 1 if something is.
    """
    with told(debug):
        from vedcore.diagnosis.doctor import diagnose

        findings = diagnose(checkpoint, allow_pickle=allow_pickle)
        if form is Format.json:
            say_json(findings)
        else:
            for finding in findings:
                say(f"{finding.severity} ({finding.concern}): {finding.problem}\n  fix: {finding.fix}")
            if not findings:
                say(f"{checkpoint}: nothing found")
        if findings:
            raise typer.Exit(1)
