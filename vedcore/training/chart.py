"""Curves over the steps of a run, as SVG in a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from vedcore.training.axis import Axis, step_axis, value_axis

MAX_POINTS = 400
"""The points of a curve; with more steps, each point is the mean of several."""

Point = tuple[int, float]
"""(step, value)"""

_HEIGHT, _TOP, _BOTTOM, _RIGHT = 240, 22, 34, 16
_WIDTHS = {"wide": 760, "narrow": 380}  # pixels; the page shows the one that fits, so that its letters keep their size
_CHARACTER = 7  # pixels, the width of a digit of a tick

STYLE = """
.chart svg { display: block; width: 100%; height: auto; overflow: visible }
.chart text { font: 12px system-ui, sans-serif; fill: var(--soft) }
.chart .note { fill: var(--text); font-weight: 600; paint-order: stroke; stroke: var(--page); stroke-width: 4px }
.chart .grid { stroke: var(--line) } .chart .curve { fill: none; stroke-width: 2; stroke-linejoin: round }
.chart .c0 { stroke: var(--first) } .chart .c1 { stroke: var(--second); stroke-dasharray: 7 3 }
.chart .c2 { stroke: var(--third); stroke-dasharray: 2 3 }
.chart .dots .c0 { fill: var(--first) } .chart .dots .c1 { fill: var(--second) } .chart .dots .c2 { fill: var(--third) }
.chart .mark { fill: var(--page); stroke: var(--text); stroke-width: 2 } .legend svg { display: inline; width: 2rem }
.legend span { margin-right: 1.2rem; white-space: nowrap }
.chart svg.narrow { display: none }
@media (max-width: 640px) { .chart svg.wide { display: none } .chart svg.narrow { display: block } }
"""
"""The rules of a page that contains charts. The page defines the colours."""


@dataclass(frozen=True, slots=True)
class Curve:
    """name: in the legend. points: in the order of the steps. dots: draw a dot at each point, for values that are rare."""

    name: str
    points: Sequence[Point]
    dots: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """A value with a note. below: write it below the value, because it is a low one."""

    step: int
    value: float
    note: str
    below: bool = False


def chart(
    title: str,
    curves: Sequence[Curve],
    *,
    unit: str = "",
    marks: Sequence[Mark] = (),
    may_be_logarithmic: bool = True,
) -> str:
    """HTML: the title, a legend if there are several curves, and the curves. unit: follows each number of the value axis.

    A curve needs a point; a chart needs a curve.
    """
    curves = [Curve(curve.name, thinned(curve.points), curve.dots) for curve in curves]
    points = [point for curve in curves for point in curve.points]
    steps = step_axis(max(step for step, _ in points))
    values = value_axis((value for _, value in points), may_be_logarithmic=may_be_logarithmic)
    kind = " (logarithmic axis)" if values.logarithmic else ""
    drawings = (_svg(title, curves, marks, steps, values, unit, name) for name in _WIDTHS)
    legend = "" if len(curves) < 2 else f'<p class="legend">{"".join(map(_legend, range(len(curves)), curves))}</p>'
    return f'<div class="chart"><h2>{escape(title)}<small>{kind}</small></h2>{legend}{"".join(drawings)}</div>'


def thinned(points: Sequence[Point]) -> list[Point]:
    """At most ``MAX_POINTS`` points: the mean of the values of neighbours, at the last of their steps."""
    size = -(-len(points) // MAX_POINTS)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]


def _svg(
    title: str, curves: Sequence[Curve], marks: Sequence[Mark], steps: Axis, values: Axis, unit: str, name: str
) -> str:
    width = _WIDTHS[name]
    labels = [f"{label}{unit}" for label in _labels(values)]
    left = 10 + _CHARACTER * max(map(len, labels))

    def x(step: float) -> float:
        return left + steps.place(step) * (width - left - _RIGHT)

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - values.place(value) * (_HEIGHT - _BOTTOM - _TOP)

    parts = []
    for tick, label in zip(values.ticks, labels, strict=True):
        parts.append(f'<line class="grid" x1="{left}" x2="{width - _RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(f'<text x="{left - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{label}</text>')
    bottom = _HEIGHT - _BOTTOM
    parts.append(f'<line class="grid" x1="{left}" x2="{width - _RIGHT}" y1="{bottom}" y2="{bottom}"/>')
    for tick in steps.ticks:
        parts.append(f'<line class="grid" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{bottom}" y2="{bottom + 4}"/>')
        parts.append(f'<text x="{x(tick):.1f}" y="{bottom + 17}" text-anchor="middle">{tick:,.0f}</text>')
    parts.append(f'<text x="{width - _RIGHT}" y="{_HEIGHT - 2}" text-anchor="end">steps</text>')
    for number, curve in enumerate(curves):
        line = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in curve.points)
        parts.append(f'<polyline class="curve c{number}" points="{line}"/>')
        if curve.dots:
            dots = (
                f'<circle class="c{number}" cx="{x(step):.1f}" cy="{y(value):.1f}" r="2.5"/>'
                for step, value in curve.points
            )
            parts.append(f'<g class="dots">{"".join(dots)}</g>')
    parts += [_mark(x(mark.step), y(mark.value), mark, width) for mark in marks]
    return (
        f'<svg class="{name}" viewBox="0 0 {width} {_HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )


def _labels(axis: Axis) -> list[str]:
    """The numbers of the ticks, all with an exponent if one of them is very small."""
    is_small = any(0 < abs(tick) < 1e-3 for tick in axis.ticks)
    labels = [
        f"{tick:.1e}".replace(".0e", "e").replace("e-0", "e-") if is_small and tick else f"{tick:g}"
        for tick in axis.ticks
    ]
    return ["0", *labels[1:]] if axis.zero else labels


def _mark(x: float, y: float, mark: Mark, width: int) -> str:
    """A circle and the note, which reaches to the side with more room."""
    anchor, across = ("start", x - 4) if x < width / 2 else ("end", x + 4)
    down = 20 if mark.below and y + 20 < _HEIGHT - _BOTTOM else -10
    return (
        f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'
        f'<text class="note" x="{across:.1f}" y="{y + down:.1f}" text-anchor="{anchor}">{escape(mark.note)}</text>'
    )


def _legend(number: int, curve: Curve) -> str:
    line = f'<line class="curve c{number}" x1="0" x2="32" y1="5" y2="5"/>'
    return f'<span><svg viewBox="0 0 32 10">{line}</svg> {escape(curve.name)}</span>'
