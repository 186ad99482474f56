"""Lines: letters that stand next to each other.

Each letter is painted as a bar through its middle that reaches towards its neighbours; bars that touch are one run of
letters. Marks too small to be letters, such as commas and dots, then join the run that they lie in.
Shapes: N components, G runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vedcore_plugin_pages.components import Components, Floats, Ints

Box = tuple[float, float, float, float]
"""left, top, right, bottom in pixels of the upright page."""

_MOST = 4000  # runs; the words of a newspaper page
_LOWEST = 3  # pixels: a lower mark is no letter, but may be the dot of one
_DOT = 0.012  # squared letter heights: a smaller mark is a speck
_REACH = 0.45  # letter heights: two letters closer than twice this are in one run; a space is about half a letter high
_BAR = 0.5  # letter heights: so that the bars of "p" and "d" overlap, and those of two lines do not
_TALL = 1.75  # times the run's median: a letter that touches the next line, or an initial
_SMALL = 0.6  # times the run's median: less is no letter
_ASIDE = 1.4  # letter heights: how far before or after its run a mark may be
_ABOVE = 1.75  # letter heights above the baseline: how high dots and quotation marks are
_BELOW = 0.45  # letter heights below the baseline: how far a comma reaches
_LONE = 3  # marks: a run with more is text of its own, even within another line's zone
_LETTERS, _MOSTLY = 1.8, 0.6  # times the run's median: letters; this share of a run's marks are
_BEATEN = 2.0  # times its letters: what several runs in the places of a run have
_STANDS = 0.18  # letter heights from the baseline: a letter without descender


@dataclass(slots=True)
class Line:
    """A run of letters. members: indices of its components. size: the median height of its letters.

    baseline: its height at the left end. slope: by how much it falls per pixel to the right. light: light on dark.
    """

    members: Ints
    box: Box
    size: float
    baseline: float
    slope: float
    light: bool

    def baseline_at(self, x: float) -> float:
        """The height of the baseline at x."""
        return self.baseline + self.slope * (x - self.box[0])


def find_lines(found: Components) -> list[Line]:
    """The runs of letters of a page, in no order."""
    runs = np.zeros(len(found.boxes), np.int64)  # 0: none
    for light in (False, True):
        chosen = np.flatnonzero((found.light == light) & (found.heights >= _LOWEST))
        if len(chosen):
            part = _runs_of(found, chosen)
            runs[chosen] = np.where(part > 0, part + runs.max(), 0)
    return _lines(found, _longest(_with_marks(found, runs))) if runs.any() else []


def collect_marks(found: Components, lines: list[Line]) -> list[Line]:
    """The lines, with the marks among them given to the lines that they lie in."""
    runs = np.zeros(len(found.boxes), np.int64)
    for number, line in enumerate(lines, start=1):
        runs[line.members] = number
    return _lines(found, _with_marks(found, runs)) if lines else []


def _longest(runs: Ints) -> Ints:
    """(N,) -> (N,): the runs with most letters, if there are more than a page can have."""
    amounts = np.bincount(runs)
    amounts[0] = 0
    if np.count_nonzero(amounts) <= _MOST:
        return runs
    dropped = np.ones(len(amounts), np.bool_)
    dropped[np.argsort(-amounts, kind="stable")[:_MOST]] = False
    return np.where(dropped[runs], 0, runs)


def _lines(found: Components, runs: Ints) -> list[Line]:
    return [line_of(found, members) for members in _members(runs)]


def line_of(found: Components, members: Ints) -> Line:
    """The line of these components, at least one."""
    boxes = found.boxes[members].astype(np.float64)
    heights = boxes[:, 3] - boxes[:, 1]
    letters = heights > _SMALL * np.median(heights[heights >= 0.5 * heights.max()])
    size = float(np.median(heights[letters]))
    left, right = float(boxes[:, 0].min()), float(boxes[:, 2].max())
    baseline, slope = _baseline(boxes[letters], size)
    box = (left, float(boxes[:, 1].min()), right, float(boxes[:, 3].max()))
    light = bool(found.light[members[0]])
    return Line(members, box, size, baseline + slope * left, slope, light)


def _baseline(boxes: Floats, size: float) -> tuple[float, float]:
    """(N, 4) boxes of letters -> height at x = 0 and slope of the line that most of them stand on."""
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3]
    height, slope = float(np.median(y)), 0.0
    span = x.max() - x.min()
    if len(x) < 6 or span < 10 * size:
        return height, 0.0
    near = np.abs(y - height) < 0.5 * size
    for reach in (_STANDS * 2, _STANDS, _STANDS):
        if np.count_nonzero(near) < 4:
            break
        middle, rest = x[near].mean(), x[near] - x[near].mean()
        spread = float(rest @ rest)
        slope = float(rest @ y[near]) / spread if spread > 0 else 0.0
        height = float(y[near].mean() - slope * middle)
        near = np.abs(y - height - slope * x) < reach * size
    # A slope that its own ends do not show is noise.
    return (height, slope) if abs(slope) < 0.2 else (float(np.median(y)), 0.0)


def _runs_of(found: Components, chosen: Ints) -> Ints:
    """Indices of n components of one polarity -> (n,): the number of the run of each, from 1; 0 for one without."""
    boxes = found.boxes[chosen]
    runs = _painted(boxes, found.owner.shape)
    heights = boxes[:, 3] - boxes[:, 1]
    tall = heights > _TALL * _median(heights, runs)[runs]
    if tall.any():
        again = _painted(boxes[~tall], found.owner.shape)
        runs[~tall] = again
        runs[tall] = 0
        _place_tall(boxes, heights, runs, np.flatnonzero(tall))
    return runs


def _place_tall(boxes: Ints, heights: Ints, runs: Ints, tall: Ints) -> None:
    """Give each tall letter to the run it stands in the middle of; one that stands beside text is a run of its own."""
    count = int(runs.max(initial=0)) + 1
    members = runs > 0
    bounds = _bounds(boxes[members], runs[members], count)
    for index in tall.tolist():
        left, top, right, bottom = boxes[index].tolist()
        middle = (left + right) / 2
        overlap = np.minimum(bottom, bounds[:, 3]) - np.maximum(top, bounds[:, 1])
        inside = (bounds[:, 0] < middle) & (middle < bounds[:, 2]) & (overlap > 0)
        if inside.any():
            runs[index] = int(np.argmax(np.where(inside, overlap, -1)))
        else:
            runs[index] = count
            count += 1


def _painted(boxes: Ints, shape: tuple[int, int]) -> Ints:
    """(n, 4) -> (n,): the runs of letters whose bars touch, numbered from 1."""
    height = boxes[:, 3] - boxes[:, 1]
    reach = np.maximum(1, np.round(_REACH * height)).astype(np.int64)
    middle = (boxes[:, 1] + boxes[:, 3]) // 2
    half = np.maximum(0, np.round(_BAR / 2 * height)).astype(np.int64)
    canvas = np.zeros(shape, np.uint8)
    bars = np.stack([boxes[:, 0] - reach, middle - half, boxes[:, 2] - 1 + reach, middle + half], axis=1)
    for left, top, right, bottom in bars.tolist():
        cv2.rectangle(canvas, (left, top), (right, bottom), 1, cv2.FILLED)
    _, labels = cv2.connectedComponents(canvas, connectivity=4, ltype=cv2.CV_32S)
    centre = np.minimum((boxes[:, 0] + boxes[:, 2]) // 2, shape[1] - 1)
    return np.asarray(labels[np.minimum(middle, shape[0] - 1), centre], dtype=np.int64)


def _with_marks(found: Components, runs: Ints) -> Ints:
    """(N,) -> (N,): with the marks that lie in the zone of a larger run given to that run."""
    count = int(runs.max()) + 1
    heights = found.heights
    sizes = _median(heights, runs)
    extents = _bounds(found.boxes, runs, count)
    amounts = np.bincount(runs, minlength=count)
    ink = np.bincount(runs, weights=found.area, minlength=count)
    light = np.zeros(count, np.bool_)
    light[runs] = found.light
    zones = np.zeros(found.owner.shape, np.int32)
    size = sizes[:, None]
    reach = np.concatenate([-_ASIDE * size, 0 * size, _ASIDE * size, _BELOW * size], axis=1)
    bounds = extents + reach
    bounds[:, 1:2] = np.minimum(bounds[:, 1:2], bounds[:, 3:] - (_ABOVE + _BELOW) * size)
    bounds = np.maximum(0, np.round(bounds)).astype(np.int64)
    for run in np.argsort(amounts, kind="stable").tolist():  # where two zones overlap, that of more letters counts
        if run and amounts[run]:
            left, top, right, bottom = bounds[run].tolist()
            zones[top:bottom, left:right] = run
    over = _zone_at(zones, found.boxes, runs)
    other = over > 0
    slack = sizes[over] / 2
    fits = (found.boxes[:, 1] > bounds[over, 1] - slack) & (found.boxes[:, 3] < bounds[over, 3] + slack)
    few = (runs == 0) | ((amounts[runs] <= _LONE) & (amounts[over] > 2 * amounts[runs]))
    few &= found.area > _DOT * sizes[over] ** 2
    joins = other & few & fits & (light[over] == found.light)
    runs = np.where(joins, over, runs)
    # Between the letters of a bold line the paper looks like light letters, and a button around light text like a dark one:
    # where a dark and a light run share a place, the one of more letters is text. First those of unlike marks go that share
    # the places of several runs with many more letters, such as the corners of the paper.
    middle = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    within = (middle > extents[over, :2]).all(axis=1) & (middle < extents[over, 2:]).all(axis=1)
    rivals = other & within & (runs > 0) & (light[over] != found.light)
    pairs = np.stack([runs[rivals], over[rivals]], axis=1)
    pairs = np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)
    facing = np.bincount(pairs[:, 0], weights=amounts[pairs[:, 1]], minlength=count)
    alike = (heights > sizes[runs] / _LETTERS) & (heights < sizes[runs] * _LETTERS)
    unlike = np.bincount(runs, weights=alike, minlength=count) < _MOSTLY * amounts
    beaten = unlike & (np.bincount(pairs[:, 0], minlength=count) > 1) & (facing > _BEATEN * amounts)
    runs[beaten[runs]] = 0
    pairs = pairs[~beaten[pairs].any(axis=1)]
    loses = (amounts[pairs] + ink[pairs] / (ink.max() + 1)).argmin(axis=1)
    lost = np.zeros(count, np.bool_)
    lost[pairs[np.arange(len(pairs)), loses]] = True
    runs[lost[runs]] = 0
    return runs


def _zone_at(zones: NDArray[np.int32], boxes: Ints, runs: Ints) -> Ints:
    """(H, W) zones and (N, 4) boxes -> (N,): the zone of another run that a box is in, by its middle or an end; or 0."""
    y = np.minimum((boxes[:, 1] + boxes[:, 3]) // 2, zones.shape[0] - 1)
    over = np.zeros(len(boxes), np.int64)
    for x in ((boxes[:, 0] + boxes[:, 2]) // 2, boxes[:, 0], boxes[:, 2] - 1):
        here = zones[y, np.minimum(x, zones.shape[1] - 1)]
        over = np.where((over == 0) & (here != runs), here, over)
    return over


def _median(values: Ints, runs: Ints) -> Floats:
    """(n,) values and the runs they belong to -> (G + 1,): the upper median of each run, 0 for a run without values."""
    order = np.lexsort((values, runs))
    amounts = np.bincount(runs)
    starts = np.cumsum(amounts) - amounts
    medians = values[order][np.minimum(starts + amounts // 2, len(values) - 1)].astype(np.float64)
    medians[amounts == 0] = 0
    return np.asarray(medians, dtype=np.float64)


def _bounds(boxes: Ints, runs: Ints, count: int) -> Floats:
    """(n, 4) boxes and the runs they belong to -> (count, 4): the box around each run."""
    low = np.full((count, 2), np.iinfo(np.int64).max)
    high = np.zeros((count, 2), np.int64)
    np.minimum.at(low, runs, boxes[:, :2])
    np.maximum.at(high, runs, boxes[:, 2:])
    low[high[:, 0] == 0] = 0
    return np.hstack([low, high]).astype(np.float64)


def _members(runs: Ints) -> list[NDArray[np.int64]]:
    """(N,) -> the indices of the components of each run."""
    order = np.argsort(runs, kind="stable")
    amounts = np.bincount(runs)
    return [part for part in np.split(order, np.cumsum(amounts)[:-1])[1:] if len(part)]
