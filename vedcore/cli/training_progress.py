"""What ``vedcore train`` prints during a run and at its end."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from vedcore.cli.app import say, writable

if TYPE_CHECKING:
    from vedcore.training import Recipe, Result

EventCallback = Callable[[str, Mapping[str, Any]], None]


@contextmanager
def progress() -> Iterator[EventCallback]:
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
        loss = f"  validation loss {fields['validation_loss']:.4f}" if "validation_loss" in fields else ""
        kept = f"  kept lines: CER {fields['kept_cer']:.2%}" if "kept_cer" in fields else ""
        return (
            f"step {fields['step']}  CER {fields['cer']:.2%}  WER {fields['wer']:.2%}  "
            f"exact {fields['exact']}/{fields['lines']}{loss}{kept}  {fields['lines_per_second']:.0f} lines/s"
            f"{'  (the best so far)' if fields['is_best'] else ''}"
        )
    if event == "skipped":
        counts = ", ".join(f"{count} {fault}" for fault, count in fields["counts"].items())
        return f"step {fields['step']}  left out: {counts}"
    if event == "cut":
        return f"{fields['lines']} long lines cut into {fields['pieces']} pieces"
    return f"step {fields['step']}  saved {fields['path']}"


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def summary(result: Result, recipe: Recipe) -> list[str]:
    """Lines that say why a run ended, what it brought, and how to use it."""
    from vedcore.training.data.problem import counted

    reason = {
        "done": "all steps are done",
        "patience": f"{recipe.evaluation.patience} evaluations in a row had no fewer errors (--patience)",
        "time": f"{recipe.max_minutes:g} minutes are over (--max-minutes)" if recipe.max_minutes else "",
        "interrupted": "interrupted",
    }[result.ended]
    lines = [f"{result.folder}: ended after {counted(result.step, 'step')}: {reason}"]
    if result.best_cer is not None:
        lines.append(f"  CER {_change(result.start_cer, result.best_cer)} (step {result.best_step}, the best)")
    if result.best_kept_cer is not None:
        lines.append(f"  CER {_change(result.start_kept_cer, result.best_kept_cer)} on kept lines")
    if result.best_step == 0:
        lines.append("  training did not improve the reader, so the folder has it as it was before")
    if result.step:
        lines.append(f"  read with: vedcore read --model {shlex.quote(str(result.folder))} IMAGES")
    return lines


def _change(before: float | None, after: float) -> str:
    return f"{after:.2%}" if before is None else f"{before:.2%} before training, {after:.2%} after it"
