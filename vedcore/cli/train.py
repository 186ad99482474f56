"""``vedcore train``: train a reader on labelled images."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vedcore.cli.app import Debug, LabelEncoding, app, reported_errors, say
from vedcore.cli.training_progress import progress, summary
from vedcore.errors import ConfigError

if TYPE_CHECKING:
    from vedcore.training.data.stored import Stored
    from vedcore.training.options import TrainingOptions
    from vedcore.training.recipe import Recipe


@app.command()
def train(
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            help="A folder of images with their labels (labels.csv or labels.jsonl, .gt.txt or .txt files, ALTO or PAGE), or "
            "a zip of images with a labels.jsonl. Not needed if the recipe names its data.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The folder for the trained checkpoint.")] = None,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", "-r", help="A recipe: a toml file with all settings.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="The checkpoint to continue from; without a recipe line-reader by default."),
    ] = None,
    add_characters: Annotated[
        str | None,
        typer.Option("--add-characters", metavar="CHARACTERS", help='Teach the model to write these too: "äöüß".'),
    ] = None,
    encoding: LabelEncoding = "utf-8",
    check: Annotated[bool, typer.Option("--check", help="List the problems of the data and exit.")] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out samples that cannot be used, and count them.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the output folder.")] = False,
    lr: Annotated[float | None, typer.Option("--lr", help="The learning rate (of the last stage).")] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="The length (of the last stage), in steps of the optimiser.")
    ] = None,
    epochs: Annotated[
        float | None,
        typer.Option("--epochs", help="The length (of the last stage), as the number of times that each line is used."),
    ] = None,
    augment: Annotated[
        bool | None,
        typer.Option(
            "--augment/--no-augment", help="Vary the images at random; by default on, unless the recipe says otherwise."
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            "--patience",
            min=0,
            help="Stop after this number of evaluations in a row without fewer errors, 0: never; 6 without a recipe.",
        ),
    ] = None,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep", help="Mix in the lines that the checkpoint contains, so that ordinary print is not forgotten."
        ),
    ] = False,
    keep_share: Annotated[
        float | None,
        typer.Option("--keep-share", help="Keep lines, with this share of those of a step; 0.25 by default."),
    ] = None,
    max_minutes: Annotated[
        float | None, typer.Option("--max-minutes", help="Save and stop after this many minutes.")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads", min=1, help="The number of threads; by default the fastest at the start. --resume keeps it."
        ),
    ] = None,
    tensorboard: Annotated[
        bool | None,
        typer.Option("--tensorboard/--no-tensorboard", help="Also write the log for TensorBoard, to OUT/tensorboard."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Train a reader on labelled images.

    Without a recipe, training continues from a checkpoint until it no longer improves. With a recipe, an option overrides the
    value in the recipe.
    """
    with reported_errors(debug), _signals_as_ctrl_c():
        # Threads that wait actively would take processor time from the workers that prepare images.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        from vedcore.training.options import TrainingOptions

        options = TrainingOptions(
            model=model,
            add_characters=add_characters,
            lr=lr,
            steps=steps,
            epochs=epochs,
            augment=augment,
            patience=patience,
            keep=keep,
            keep_share=keep_share,
            threads=threads,
            tensorboard=tensorboard,
            max_minutes=max_minutes,
        )
        plan, beside = _load_recipe(recipe, options)
        labelled = _open_data(data, encoding)
        if check:
            _check(plan, labelled, beside)
            return
        if out is None:
            raise ConfigError("train needs --out, the folder for the trained checkpoint (or --check)", field="--out")
        from vedcore.training import train as run
        from vedcore.training.data.problem import counted

        is_first = os.environ.get("RANK", "0") == "0"  # each of several processes runs this command
        continue_with = f"continue with: vedcore {shlex.join([*sys.argv[1:], *([] if resume else ['--resume'])])}"
        try:
            with progress() as watch:
                result = run(plan, out, labelled, beside=beside, resume=resume, skip_bad=skip_bad, watch=watch)
        except KeyboardInterrupt as error:
            if is_first:
                say(f"{out}: interrupted; {_describe_saved(out, continue_with)}", err=True)
            raise typer.Exit(130) from error
        if result.skipped and is_first:
            say(f"{counted(result.skipped, 'sample')} left out; {out / 'report.html'} lists them", err=True)
        if is_first:
            for line in summary(result, plan):
                say(line)
            if result.ended in ("time", "interrupted"):
                say(f"{out}: stopped after step {result.step}; {continue_with}", err=True)
        if result.ended == "interrupted":
            raise typer.Exit(130)


def _load_recipe(path: Path | None, options: TrainingOptions) -> tuple[Recipe, Path]:
    """The recipe with the options, and the folder to which its paths are relative."""
    from vedcore.training.recipe import Recipe

    if path is None:
        return options.recipe(), Path()
    return options.applied_to(Recipe.from_toml(path)), path.parent


def _open_data(data: str | None, encoding: str) -> Stored | None:
    from vedcore.training.data.stored import open_stored

    if data is None and encoding != "utf-8":
        raise ConfigError(
            "--encoding is for DATA; for a data set of the recipe, set its encoding there",
            field="--encoding",
            found=encoding,
        )
    return None if data is None else open_stored(data, encoding)


@contextmanager
def _signals_as_ctrl_c() -> Iterator[None]:
    """Treat SIGTERM and SIGHUP like Ctrl-C outside of the training loop; under nohup SIGHUP stays ignored."""
    found = [getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")]
    replaced = [number for number in found if number is not None and signal.getsignal(number) is signal.SIG_DFL]
    for number in replaced:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in replaced:
            signal.signal(number, signal.SIG_DFL)


def _describe_saved(out: Path, continue_with: str) -> str:
    """What is saved of a run that stopped at once."""
    from vedcore.training.checkpoints import CheckpointFolder

    newest = CheckpointFolder(out, keep=1).newest()
    if newest is None:
        return "there is no checkpoint yet; the same command starts again"
    return f"the last checkpoint is {newest}; {continue_with}"


def _check(recipe: Recipe, data: Stored | None, beside: Path) -> None:
    from vedcore.training import check_data, open_data
    from vedcore.training.data.problem import counted, unknown_characters

    datasets = open_data(recipe, data, beside)
    found = check_data(recipe, datasets)
    for name, check in found.items():
        for problem in [*check.problems, *check.not_aligned]:
            say(str(problem))
        say(
            f"{name}: {counted(check.lines, 'sample')} to learn from, {counted(len(check.problems), 'problem')}",
            err=True,
        )
        if check.cut or check.not_aligned:
            say(
                f"{name}: {counted(check.cut, 'long line')} cut into {counted(check.pieces, 'piece')}; "
                f"{counted(len(check.not_aligned), 'line')} left out, because their labels cannot be split",
                err=True,
            )
        if unknown := unknown_characters(check.problems):
            say(f"{name}: {unknown}", err=True)
    if any(check.problems for check in found.values()):
        raise typer.Exit(1)
