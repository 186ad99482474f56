"""The report of a run: one HTML page without other files."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from vedcore.errors import SaveError
from vedcore.training.chart import curve
from vedcore.training.evaluation import ReadLine, Score
from vedcore.training.log import read_log
from vedcore.training.recipe import Recipe
from vedcore.vision import as_png

REPORT_FILE = "report.html"
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse } td, th { padding: .25rem .8rem .25rem 0; text-align: left; vertical-align: top }
th { font-weight: 600 } tr + tr { border-top: 1px solid #ddd } img { max-width: 22rem; border: 1px solid #ccc }
pre { background: #f6f6f6; padding: .8rem; overflow-x: auto } svg { width: 100%; height: auto } svg text { font-size: 11px }
code { white-space: pre-wrap }
"""


Best = tuple[int, float] | None
"""The step of the published model and its character error rate; None without an evaluation."""


def write_report(folder: Path, recipe: Recipe, best: Best, score: Score | None, images: Mapping[str, Any]) -> None:
    """Write report.html to ``folder`` from the log there. images: the images of the worst lines by source.

    Raises SaveError if it cannot be written.
    """
    page = render(read_log(folder), recipe, best, score, images)
    aside = folder / f".{REPORT_FILE}.tmp-{os.getpid()}"
    try:
        aside.write_text(page, encoding="utf-8", errors="backslashreplace")  # a name can contain lone surrogates
        os.replace(aside, folder / REPORT_FILE)
    except OSError as cause:
        aside.unlink(missing_ok=True)
        raise SaveError(f"{folder / REPORT_FILE}: not written ({cause})", file=folder / REPORT_FILE) from cause


def render(
    log: Sequence[Mapping[str, Any]], recipe: Recipe, best: Best, score: Score | None, images: Mapping[str, Any]
) -> str:
    """The HTML of the report. log: the records of the run."""
    steps = [record for record in log if record["event"] == "step"]
    evaluations = [record for record in log if record["event"] == "evaluation"]
    parts = [_summary(steps, evaluations, best, score, [record for record in log if record["event"] == "skipped"])]
    for title, records, name, scale in (
        ("Loss of the decoder per label", steps, "loss", 1.0),
        ("CTC loss of the encoder per label", steps, "ctc", 1.0),
        ("Learning rate", steps, "lr", 1.0),
        ("Character error rate, %", evaluations, "cer", 100.0),
        ("Word error rate, %", evaluations, "wer", 100.0),
    ):
        points = [(float(record["step"]), scale * float(record[name])) for record in records if name in record]
        if len(points) > 1:
            parts.append(f"<h2>{title}</h2>{curve(points)}")
    if score is not None:
        parts += [_bins(score), _worst(score.worst, images)]
    settings = escape(json.dumps(recipe.to_dict(), indent=2, ensure_ascii=False))
    parts.append(f"<h2>Recipe</h2><pre>{settings}</pre>")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Training report</title>'
        f"<style>{_STYLE}</style></head><body><h1>Training report</h1>{''.join(parts)}</body></html>\n"
    )


def _summary(
    steps: Sequence[Mapping[str, Any]],
    evaluations: Sequence[Mapping[str, Any]],
    best: Best,
    score: Score | None,
    skipped: Sequence[Mapping[str, Any]],
) -> str:
    rows = [("steps", str(steps[-1]["step"]) if steps else "none")]
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


def _bins(score: Score) -> str:
    rows = [
        (f"{b.low:.1f} to {b.high:.1f}", str(b.lines), f"{b.confidence:.3f}", f"{b.exact / b.lines:.3f}")
        for b in score.bins
    ]
    return "<h2>Confidence</h2>" + _table(("confidence", "lines", "mean", "share exact"), rows)


def _worst(lines: Sequence[ReadLine], images: Mapping[str, Any]) -> str:
    rows = []
    for line in lines:
        image = ""
        if line.source in images:
            data = b64encode(as_png(images[line.source])).decode()
            image = f'<img alt="" src="data:image/png;base64,{data}"><br>'
        cells = (
            f"{image}<small>{escape(line.source)}</small>",
            f"<code>{escape(line.text)}</code><br><code>{escape(line.read)}</code>",
            f"{line.errors}",
            f"{line.confidence:.3f}",
        )
        rows.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    head = "".join(f"<th>{title}</th>" for title in ("image", "text, and what was read", "errors", "confidence"))
    return f"<h2>The worst lines</h2><table><tr>{head}</tr>{''.join(rows)}</table>" if rows else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    titles = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table>{f'<tr>{titles}</tr>' if head else ''}{body}</table>"
