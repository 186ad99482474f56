"""``vedcore train``: labelled images become a reader."""

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

Watch = Callable[[str, Mapping[str, Any]], None]


@app.command()
def train(
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            help="A folder of images beside a labels.jsonl, a labels.csv or one .txt an image. Not needed where the recipe "
            "names its data.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The folder for the trained checkpoint.")] = None,
    recipe: Annotated[Path | None, typer.Option("--recipe", "-r", help="A recipe (toml).")] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="The checkpoint to go on from, without a recipe. [default: line-reader]"),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Say what is wrong with the data, and leave.")] = False,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out what cannot be used, and count it.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
    max_minutes: Annotated[
        float | None, typer.Option("--max-minutes", help="Stop and save after so many minutes.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Train a reader on labelled images."""
    with reported_errors(debug), _as_ctrl_c():
        # Threads that wait for each other by turning in circles starve the processes that prepare images.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        plan, beside = _recipe(recipe, model, max_minutes)
        if check:
            _check(plan, data, beside)
            return
        if out is None:
            raise ConfigError("train needs --out, the folder for the trained checkpoint (or --check)")
        from vedcore.training import train as run
        from vedcore.training.data import counted

        is_first = os.environ.get("RANK", "0") == "0"  # of several processes, which all come here
        again = f"go on with: vedcore {shlex.join([*sys.argv[1:], *([] if resume else ['--resume'])])}"
        try:
            with _progress() as watch:
                result = run(plan, out, data, beside=beside, resume=resume, skip_bad=skip_bad, watch=watch)
        except KeyboardInterrupt as error:
            if is_first:
                say(f"{out}: interrupted; {_kept(out, again)}", err=True)
            raise typer.Exit(130) from error
        if result.skipped and is_first:
            say(f"{counted(result.skipped, 'sample')} left out; {out / 'report.html'} says which", err=True)
        if result.ended == "done" and is_first:
            best = "" if result.best_cer is None else f", the best at {result.best_step} (CER {result.best_cer:.2%})"
            say(f"{out}: {result.step} steps{best}; read with: vedcore read --model {shlex.quote(str(out))} IMAGES")
        elif is_first:
            say(f"{out}: stopped after step {result.step}; {again}", err=True)
        if result.ended == "interrupted":
            raise typer.Exit(130)


def _recipe(path: Path | None, model: str | None, max_minutes: float | None) -> tuple[Recipe, Path]:
    """The recipe that the options name, and the folder where its relative paths start."""
    from vedcore.training.recipe import Recipe

    if path is not None and model is not None:
        raise ConfigError("--model is for a run without a recipe; a recipe says the model itself")
    recipe = (
        Recipe.from_dict({"model": {"checkpoint": model or "line-reader"}}) if path is None else Recipe.from_toml(path)
    )
    if max_minutes is not None:
        recipe.max_minutes = max_minutes
    return recipe, Path() if path is None else path.parent


@contextmanager
def _as_ctrl_c() -> Iterator[None]:
    """SIGTERM and SIGHUP are Ctrl-C wherever the run does not wait for them itself; under nohup SIGHUP stays ignored."""
    found = [getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")]
    taken = [number for number in found if number is not None and signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _kept(out: Path, again: str) -> str:
    """What a run that was ended at once leaves."""
    from vedcore.training.checkpoints import Checkpoints

    newest = Checkpoints(out, keep=1).newest()
    if newest is None:
        return "there is no checkpoint yet, the same command begins anew"
    return f"the last checkpoint is {newest}; {again}"


def _check(recipe: Recipe, data: str | None, beside: Path) -> None:
    from vedcore.training import check_data, open_data
    from vedcore.training.data import counted

    datasets = open_data(recipe, data, beside)
    found = check_data(recipe, datasets)
    for name, problems in found.items():
        for problem in problems:
            say(str(problem))
        unlisted = len(getattr(datasets[name], "problems", ()))  # what is no sample of it: a label without an image
        good = len(datasets[name]) - (len(problems) - unlisted)
        say(f"{name}: {counted(good, 'sample')} to learn from, {counted(len(problems), 'problem')}", err=True)
    if any(found.values()):
        raise typer.Exit(1)


@contextmanager
def _progress() -> Iterator[Watch]:
    """What to call with the events of a run: a bar on stderr where that is a terminal, lines elsewhere."""

    def unless_closed(tell: Watch) -> Watch:
        def watch(event: str, fields: Mapping[str, Any]) -> None:
            with suppress(OSError):  # of a terminal that is closed: the run has yet to be saved
                tell(event, fields)

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
