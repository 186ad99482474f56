"""``vedcore eval``: measure how well a checkpoint reads labelled images."""

from __future__ import annotations

import json
import os
import warnings
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vedcore.cli.app import Debug, LabelEncoding, Threads, app, reported_errors, say, writable
from vedcore.errors import ConfigError, VedcoreError

if TYPE_CHECKING:
    from vedcore.reader import Reader
    from vedcore.training import Comparison, Score


class OutputFormat(StrEnum):
    """The output formats of a score."""

    table = "table"
    json = "json"


@app.command("eval")
def evaluate(
    checkpoint: Annotated[str, typer.Argument(help="A folder, a hub id, or a checkpoint that a plugin ships.")],
    data: Annotated[
        str,
        typer.Argument(
            help="A folder of images with their labels: labels.csv or labels.jsonl, .gt.txt or .txt files, ALTO or PAGE."
        ),
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
    encoding: LabelEncoding = "utf-8",
    no_cut: Annotated[bool, typer.Option("--no-cut", help="Read long lines whole instead of cutting them.")] = False,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            help="Store in CHECKPOINT, a folder, how likely its readings are right: what the lines of DATA show. They must "
            "be lines that it was not trained on.",
        ),
    ] = False,
    threads: Threads = None,
    debug: Debug = False,
) -> None:
    """Print error rates, exact lines, calibration of confidence and probability, and speed."""
    with reported_errors(debug):
        from vedcore.reader import CalibrationWarning, Reader
        from vedcore.speed.threads import choose_threads
        from vedcore.training import Folder, compare

        to_calibrate = _folder_to_calibrate(checkpoint) if calibrate else None
        choose_threads(threads)
        with warnings.catch_warnings():
            if calibrate:  # the calibration of other weights is replaced now
                warnings.simplefilter("ignore", CalibrationWarning)
            reader = Reader.load(checkpoint)
        compared = compare(reader, Folder(data, encoding=encoding), beams=beams, batch_size=batch_size, cut=not no_cut)
        if to_calibrate is not None:
            compared = _calibrate(to_calibrate, reader, compared)
        score = compared.score(worst)
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


def _folder_to_calibrate(checkpoint: str) -> Path:
    """The folder of the checkpoint. Raises ConfigError if a calibration cannot be stored there."""
    from vedcore.reader import locate
    from vedcore.registry import registry

    folder = locate(checkpoint)
    shipped = [registry().checkpoint(name).folder for name in registry().checkpoint_names()]
    if not Path(checkpoint).is_dir() or any(folder.samefile(other) for other in shipped):
        reason = "is a shipped checkpoint or one of the hub, whose files are not changed"
    elif not os.access(folder, os.W_OK):
        reason = "may not be written to"
    else:
        return folder
    raise ConfigError(
        f"--calibrate stores what it finds in the checkpoint, and {checkpoint} {reason}; copy the folder {folder} "
        "and name the copy",
        file=folder,
        field="calibrate",
        expected="a folder of your own",
        found=checkpoint,
    )


def _calibrate(folder: Path, reader: Reader, compared: Comparison) -> Comparison:
    """Fit a calibration and store it in ``folder``. Returns the readings with its probabilities."""
    from vedcore.reader.calibration import write_calibration
    from vedcore.storage.own import OWN_FILE, weights_checksums
    from vedcore.training import fit_calibration

    calibration = fit_calibration(compared, weights_checksums(reader.model.parameters()))
    write_calibration(folder, calibration)
    say(
        f"vedcore: {folder / OWN_FILE}: calibration stored, fitted on {calibration.lines} lines ({calibration.wrong} wrong); "
        f"calibration error of the confidence {calibration.confidence_error:.3f}, of the probability "
        f"{calibration.probability_error:.3f} on lines left out of the fit",
        err=True,
    )
    return compared.calibrated(calibration)


def _table(score: Score) -> str:
    lines = [
        f"character error rate  {score.cer:8.2%}",
        f"word error rate       {score.wer:8.2%}",
        f"exact lines           {score.exact:5} of {score.lines}",
        f"calibration error     {score.calibration_error:8.3f}",
        *_probabilities(score),
        f"lines per second      {score.lines_per_second:8.1f}",
        "",
        "confidence   lines   mean   exact",
        *(
            f"{b.low:.1f} to {b.high:.1f}  {b.lines:6}  {b.confidence:.3f}  {b.exact / b.lines:6.1%}"
            for b in score.bins
        ),
    ]
    known = score.probability_error is not None
    if score.worst:
        figures = "errors, confidence, probability" if known else "errors, confidence"
        lines += ["", f"the worst lines ({figures}, file; the label; the reading)"]
    for line in score.worst:
        probability = "" if line.probability is None else f"  {line.probability:.3f}"
        lines += [f"{line.errors:3}  {line.confidence:.3f}{probability}  {line.source}"]
        lines += [f"     {line.text}", f"     {line.read}"]
    return "\n".join(lines)


def _probabilities(score: Score) -> list[str]:
    if score.probability_error is None:
        return []
    return [
        f"probability error     {score.probability_error:8.3f}",
        f"probability above 0.9 {score.sure:5} of {score.lines}, {score.sure_wrong} of them wrong",
    ]
