"""The report of a run: one HTML page without other files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from vedcore.errors import SaveError
from vedcore.training import chart, worst_lines
from vedcore.training.attention import SeenRow
from vedcore.training.chart import Curve, Mark, Point
from vedcore.training.evaluation import SURE, Score
from vedcore.training.log import read_log
from vedcore.training.recipe import Recipe

REPORT_FILE = "report.html"
_STYLE = """
:root { color-scheme: light dark; --page: #fff; --text: #222; --soft: #666; --line: #ddd; --shade: #f4f4f4;
  --first: #1f6feb; --second: #bf5700; --third: #2b8a3e; --heat: #f60; --bad: #b3001b }
@media (prefers-color-scheme: dark) { :root { --page: #17191c; --text: #e4e4e4; --soft: #a0a0a0; --line: #3a3d42;
  --shade: #24272b; --first: #6ea8fe; --second: #ffa94d; --third: #69db7c; --bad: #ff8787 } }
@media print { :root { color-scheme: light; --page: #fff; --text: #000; --soft: #555; --line: #ccc; --shade: #f4f4f4;
  --first: #1f6feb; --second: #bf5700; --third: #2b8a3e; --bad: #b3001b } .chart, tr, h2 { break-inside: avoid }
  h2 { break-after: avoid } }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: var(--text);
  background: var(--page); overflow-wrap: anywhere }
h1 { font-size: 1.7rem } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem } h2 small { font-weight: 400; color: var(--soft) }
table { border-collapse: collapse } td, th { padding: .25rem 1.2rem .25rem 0; text-align: left; vertical-align: top }
th { font-weight: 600 } tr + tr { border-top: 1px solid var(--line) } td:first-child { color: var(--soft) }
small { color: var(--soft) } pre { background: var(--shade); padding: .8rem; overflow-x: auto; overflow-wrap: normal }
summary { cursor: pointer }
"""
_ENDED = {
    "done": "all steps are done",
    "patience": "it did not improve for several evaluations (patience)",
    "time": "its time was over (max_minutes)",
    "interrupted": "it was interrupted; --resume continues it",
}

Best = tuple[int, float] | None
"""The step of the published model and its character error rate; None without an evaluation."""


def write_report(
    folder: Path,
    recipe: Recipe,
    best: Best,
    score: Score | None,
    seen: Mapping[str, Sequence[SeenRow]],
    ended: str | None = None,
) -> None:
    """Write report.html to ``folder`` from the log there. The arguments are those of ``render``.

    Raises SaveError if it cannot be written.
    """
    page = render(read_log(folder), recipe, best, score, seen, ended)
    aside = folder / f".{REPORT_FILE}.tmp-{os.getpid()}"
    try:
        aside.write_text(page, encoding="utf-8", errors="backslashreplace")  # a name can contain lone surrogates
        os.replace(aside, folder / REPORT_FILE)
    except OSError as cause:
        aside.unlink(missing_ok=True)
        raise SaveError(f"{folder / REPORT_FILE}: not written ({cause})", file=folder / REPORT_FILE) from cause


def render(
    log: Sequence[Mapping[str, Any]],
    recipe: Recipe,
    best: Best,
    score: Score | None,
    seen: Mapping[str, Sequence[SeenRow]],
    ended: str | None = None,
) -> str:
    """The HTML of the report.

    log: the records of the run. seen: what the model saw of the worst lines, by their source. ended: why the run ended; None
    while it runs.
    """
    steps = [record for record in log if record["event"] == "step"]
    evaluations = [record for record in log if record["event"] == "evaluation"]
    skipped = [record for record in log if record["event"] == "skipped"]
    main, further = _charts(steps, evaluations, best)
    parts = [_summary(steps, evaluations, best, score, skipped, ended), *main]
    if score is not None:
        parts += [worst_lines.worst_lines(score.worst, seen), _bins(score)]
    settings = escape(json.dumps(recipe.to_dict(), indent=2, ensure_ascii=False))
    parts += [*further, f"<h2>Recipe</h2><pre>{settings}</pre>"]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Training report</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}{chart.STYLE}{worst_lines.STYLE}</style></head>"
        f"<body><h1>Training report</h1>{''.join(parts)}</body></html>\n"
    )


def _charts(
    steps: Sequence[Mapping[str, Any]], evaluations: Sequence[Mapping[str, Any]], best: Best
) -> tuple[list[str], list[str]]:
    """Errors and losses; and the other charts. Those for which the log has fewer than two values are left out."""
    errors = [
        Curve("held-out lines", cer := _points(evaluations, "cer", 100), dots=True),
        Curve("ordinary print (keep)", _points(evaluations, "kept_cer", 100), dots=True),
    ]
    losses = [
        Curve("training", _points(steps, "loss")),
        Curve("validation", _points(evaluations, "validation_loss"), dots=True),
    ]
    words = [Curve("held-out lines", wer := _points(evaluations, "wer", 100), dots=True)]
    main = [
        _chart("Character error rate", errors, unit="%", marks=_marks(cer, best)),
        _chart("Loss of the decoder per label", losses),
    ]
    further = [
        _chart("Word error rate", words, unit="%", marks=_marks(wer, best)),
        _chart("CTC loss of the encoder per label", [Curve("training", _points(steps, "ctc"))]),
        _chart("Learning rate", [Curve("training", _points(steps, "lr"))], may_be_logarithmic=False),
    ]
    return main, further


def _chart(title: str, curves: Sequence[Curve], **options: Any) -> str:
    """The chart of the curves that have points; empty if none has two."""
    found = [curve for curve in curves if curve.points]
    return chart.chart(title, found, **options) if any(len(curve.points) > 1 for curve in found) else ""


def _points(records: Sequence[Mapping[str, Any]], name: str, scale: float = 1.0) -> list[Point]:
    """The values of a field by step, without records that do not have it."""
    return [(record["step"], scale * record[name]) for record in records if record.get(name) is not None]


def _marks(points: Sequence[Point], best: Best) -> list[Mark]:
    """The value before training, and that of the best model."""
    marks = []
    for step, value in points:
        if step == 0:
            marks.append(Mark(step, value, f"before training: {value:.3g}%"))
        elif best is not None and step == best[0]:
            marks.append(Mark(step, value, f"best: {value:.3g}%", below=True))
    return marks


def _summary(
    steps: Sequence[Mapping[str, Any]],
    evaluations: Sequence[Mapping[str, Any]],
    best: Best,
    score: Score | None,
    skipped: Sequence[Mapping[str, Any]],
    ended: str | None,
) -> str:
    rows = [("steps", f"{steps[-1]['step']:,}" if steps else "none")]
    if ended is not None:
        rows.append(("the run ended because", _ENDED.get(ended, ended)))
    if evaluations and evaluations[0]["step"] == 0:
        rows.append(("before training", f"character error rate {evaluations[0]['cer']:.2%}"))
    if best is not None:
        rows.append(("in this folder", f"the model of step {best[0]}, character error rate {best[1]:.2%}"))
    if evaluations:
        last = evaluations[-1]
        figures = "all figures below" if score is not None else f"character error rate {last['cer']:.2%}"
        rows.append(("last evaluation", f"step {last['step']}, {figures}"))
    if score is not None:
        rows += [
            ("character error rate", f"{score.cer:.2%}"),
            ("word error rate", f"{score.wer:.2%}"),
            ("exact lines", f"{score.exact} of {score.lines}"),
            ("calibration error", f"{score.calibration_error:.3f}"),
            *_sure(score),
            ("lines per second", f"{score.lines_per_second:.1f}"),
        ]
    counts: dict[str, int] = {}
    for record in skipped:
        for fault, count in record["counts"].items():
            counts[fault] = counts.get(fault, 0) + count
    rows += [(f"left out: {fault}", str(count)) for fault, count in sorted(counts.items())]
    details = [problem for record in skipped for problem in record["problems"]][:50]
    listed = "".join(f"<li>{escape(problem)}</li>" for problem in details)
    return _table((), rows) + (
        f"<details><summary>What was left out</summary><ul>{listed}</ul></details>" if listed else ""
    )


def _sure(score: Score) -> list[tuple[str, str]]:
    """The lines that the reader is sure of; nothing without probabilities."""
    if score.sure is None:
        return []
    return [(f"lines above probability {SURE}", f"{score.sure}, of which {score.sure_wrong} are wrong")]


def _bins(score: Score) -> str:
    rows = [
        (f"{b.low:.1f} to {b.high:.1f}", str(b.lines), f"{b.confidence:.3f}", f"{b.exact / b.lines:.3f}")
        for b in score.bins
    ]
    return "<h2>Confidence</h2>" + _table(("confidence", "lines", "mean", "share exact"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    titles = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table>{f'<tr>{titles}</tr>' if head else ''}{body}</table>"
