"""``vedcore train``: train a reader on labelled images."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vedcore.cli.app import Debug, app, reported_errors, say, writable
from vedcore.errors import ConfigError

if TYPE_CHECKING:
    from vedcore.training.recipe import Recipe

EventCallback = Callable[[str, Mapping[str, Any]], None]


@app.command()
def train(
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            help="A folder of images with a labels.jsonl, a labels.csv, or one .txt file per image. Not needed if the recipe "
            "names its data.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The folder for the trained checkpoint.")] = None,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", "-r", help="A recipe: a toml file with all settings.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="The checkpoint to continue from, without a recipe. [default: line-reader]"),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="List the problems of the data and exit.")] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out samples that cannot be used, and count them.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the output folder.")] = False,
    max_minutes: Annotated[
        float | None, typer.Option("--max-minutes", help="Save and stop after this many minutes.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Train a reader on labelled images."""
    with reported_errors(debug), _signals_as_ctrl_c():
        # Threads that wait actively would take processor time from the workers that prepare images.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        plan, beside = _load_recipe(recipe, model, max_minutes)
        if check:
            _check(plan, data, beside)
            return
        if out is None:
            raise ConfigError("train needs --out, the folder for the trained checkpoint (or --check)", field="--out")
        from vedcore.training import train as run
        from vedcore.training.data.problem import counted

        is_first = os.environ.get("RANK", "0") == "0"  # each of several processes runs this command
        continue_with = f"continue with: vedcore {shlex.join([*sys.argv[1:], *([] if resume else ['--resume'])])}"
        try:
            with _progress() as watch:
                result = run(plan, out, data, beside=beside, resume=resume, skip_bad=skip_bad, watch=watch)
        except KeyboardInterrupt as error:
            if is_first:
                say(f"{out}: interrupted; {_describe_saved(out, continue_with)}", err=True)
            raise typer.Exit(130) from error
        if result.skipped and is_first:
            say(f"{counted(result.skipped, 'sample')} left out; {out / 'report.html'} lists them", err=True)
        if result.ended == "done" and is_first:
            best = "" if result.best_cer is None else f", the best at {result.best_step} (CER {result.best_cer:.2%})"
            say(f"{out}: {result.step} steps{best}; read with: vedcore read --model {shlex.quote(str(out))} IMAGES")
        elif is_first:
            say(f"{out}: stopped after step {result.step}; {continue_with}", err=True)
        if result.ended == "interrupted":
            raise typer.Exit(130)


def _load_recipe(path: Path | None, model: str | None, max_minutes: float | None) -> tuple[Recipe, Path]:
    """The recipe of the options, and the folder to which its paths are relative."""
    from vedcore.training.recipe import Recipe

    if path is not None and model is not None:
        raise ConfigError(
            "--model is for a run without a recipe; set the model in the recipe instead", field="--model", found=model
        )
    recipe = (
        Recipe.from_dict({"model": {"checkpoint": model or "line-reader"}}) if path is None else Recipe.from_toml(path)
    )
    if max_minutes is not None:
        recipe.max_minutes = max_minutes
    return recipe, Path() if path is None else path.parent


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


def _check(recipe: Recipe, data: str | None, beside: Path) -> None:
    from vedcore.training import check_data, open_data
    from vedcore.training.data.problem import counted

    datasets = open_data(recipe, data, beside)
    found = check_data(recipe, datasets)
    for name, problems in found.items():
        for problem in problems:
            say(str(problem))
        # Problems of the data set itself have no index: a label without an image, for example.
        unlisted = len(getattr(datasets[name], "problems", ()))
        good = len(datasets[name]) - (len(problems) - unlisted)
        say(f"{name}: {counted(good, 'sample')} to learn from, {counted(len(problems), 'problem')}", err=True)
    if any(found.values()):
        raise typer.Exit(1)


@contextmanager
def _progress() -> Iterator[EventCallback]:
    """A callback for the events of a run: it draws a progress bar on stderr, or prints lines if that is not a terminal."""

    def unless_closed(callback: EventCallback) -> EventCallback:
        def watch(event: str, fields: Mapping[str, Any]) -> None:
            with suppress(OSError):  # the terminal is closed, but the run must still be saved
                callback(event, fields)

        return watch

    if not sys.stderr.isatty():
        yield unless_closed(lambda event, fields: say(_line(event, fields), err=True))
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("preparing", total=None)

        def watch(event: str, fields: Mapping[str, Any]) -> None:
            if event == "progress":
                bar.update(task, description=_line(event, fields), completed=fields["step"], total=fields["steps"])
            else:
                bar.console.print(writable(_line(event, fields)), highlight=False, markup=False)

        yield unless_closed(watch)


def _line(event: str, fields: Mapping[str, Any]) -> str:
    if event == "progress":
        of = "" if fields["steps"] is None else f"/{fields['steps']}"
        return (
            f"step {fields['step']}{of}  loss {fields['loss']:.4f}  lr {fields['lr']:.2e}  "
            f"{fields['images_per_second']:.0f} images/s  {_span(fields['seconds_left'])} left"
        )
    if event == "evaluation":
        return (
            f"step {fields['step']}  CER {fields['cer']:.2%}  WER {fields['wer']:.2%}  "
            f"exact {fields['exact']}/{fields['lines']}  {fields['lines_per_second']:.0f} lines/s"
        )
    if event == "skipped":
        counts = ", ".join(f"{count} {fault}" for fault, count in fields["counts"].items())
        return f"step {fields['step']}  left out: {counts}"
    return f"step {fields['step']}  saved {fields['path']}"


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
