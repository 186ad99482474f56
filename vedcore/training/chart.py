"""A curve as SVG."""

from __future__ import annotations

from collections.abc import Sequence

MAX_POINTS = 400
"""The points of a curve; with more steps, each point is the mean of several."""


def curve(points: Sequence[tuple[float, float]], width: int = 720, height: int = 200) -> str:
    """An SVG of (step, value) points. The value axis starts at 0, or at the smallest value if that is negative."""
    points = _thinned(points)
    left, bottom, top = 60, 20, 8
    first, last = points[0][0], points[-1][0]
    low, high = min(0.0, *(y for _, y in points)), max(y for _, y in points)
    span = (high - low) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - first) / ((last - first) or 1.0)
        return left + across * (width - left - 10), height - bottom - (y - low) / span * (height - bottom - top)

    line = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in points)
    marks = []
    for part in range(5):
        value = low + span * part / 4
        _, y = place(first, value)
        marks.append(f'<line x1="{left}" x2="{width - 10}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        marks.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    for x, anchor in ((first, "start"), (last, "end")):
        marks.append(f'<text x="{place(x, low)[0]:.1f}" y="{height - 4}" text-anchor="{anchor}">{x:.0f}</text>')
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img">{"".join(marks)}'
        f'<polyline points="{line}" fill="none" stroke="#1f6feb" stroke-width="1.5"/></svg>'
    )


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    size = -(-len(points) // MAX_POINTS)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(group[-1][0], sum(y for _, y in group) / len(group)) for group in groups]
