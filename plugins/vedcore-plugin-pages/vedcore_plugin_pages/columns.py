"""Columns: which runs of letters at one height are a line, which are cells of a row, and which lie in different columns.

A gap between two runs continues above and below as a white strip. Where the strip is short, the gap is one between words.
Where it is tall, text is on both sides of it: long lines are columns, and short entries that are level with each other are
the cells of a table, of a form or of a list of prices, which is read row by row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vedcore_plugin_pages.components import Components, Floats, Ints
from vedcore_plugin_pages.lines import Box, Line, line_of

_LEVEL = 0.45  # letter heights: the baselines of two words of a line differ by less
_ALIKE = 1.9  # times: a word of small letters beside one of capitals
_FARTHEST = 60.0  # letter heights: no row has a wider gap
_SPACE = 1.6  # letter heights: a narrower gap is a space
_WIDE = 4.0  # letter heights: a wider gap does not lie within a line ...
_WIDEST = 10.0  # ... or if there is text closely above and below it, as between the words of a justified line
_FLAT = 6.0  # letter heights: a lower strip has text closely above and below
_ROWS = 3  # gaps above each other that make a gutter
_LONG = 14.0  # letter heights: the entries of a table are mostly shorter, the lines of a column mostly longer
_GUTTER = 3.0  # letter heights: no space is as wide in several lines
_ALIGNED = 0.3  # letter heights
_MOSTLY = 0.6  # of the lines; the others are indented
_CELL = 3.0  # letter heights: from the middle of an entry to the rule above or below it
_STRIP = 0.5  # letter heights: a narrower strip is no gutter
_INDENT = 2.0  # letter heights: lines of a column start within this

Row = list[Line]
"""The lines at one height that are read from left to right, without other text between them."""


@dataclass(slots=True)
class _Gap:
    """The space between run ``left`` and run ``right`` (indices), and the strip (x0, y0, x1, y1) it is part of.

    ruled: whether a rule goes down through it. boxed: whether there are rules closely above and below it too, as in a table.
    """

    left: int
    right: int
    width: float
    strip: Box
    ruled: bool
    boxed: bool


def join_words(found: Components, runs: list[Line], pictures: list[Box]) -> list[Line]:
    """Runs -> lines: runs with a space between them are one."""
    gaps = _gaps(found, runs, pictures)
    sides = _Sides(runs, gaps)
    return [_joined(found, runs, chain) for chain in _chained(len(runs), [g for g in gaps if sides.kind(g) == "space"])]


def find_rows(found: Components, lines: list[Line], pictures: list[Box]) -> list[Row]:
    """Lines -> rows, in no order; the lines of a row from left to right."""
    gaps = _gaps(found, lines, pictures)
    sides = _Sides(lines, gaps)
    chains = _chained(len(lines), [gap for gap in gaps if sides.kind(gap) != "column"])
    return [[lines[index] for index in chain] for chain in chains]


def _chained(count: int, gaps: list[_Gap]) -> list[list[int]]:
    """Chains of 0 to ``count`` - 1 across the gaps."""
    follower = {gap.left: gap.right for gap in gaps}
    chains = []
    for first in sorted(set(range(count)) - set(follower.values())):
        chain = [first]
        while chain[-1] in follower:
            chain.append(follower[chain[-1]])
        chains.append(chain)
    return chains


def _joined(found: Components, runs: list[Line], parts: list[int]) -> Line:
    if len(parts) == 1:
        return runs[parts[0]]
    return line_of(found, np.concatenate([runs[part].members for part in parts]))


def _gaps(found: Components, runs: list[Line], pictures: list[Box]) -> list[_Gap]:
    """The gaps between runs that are nearest to each other at one height."""
    if not runs:
        return []
    boxes = np.array([run.box for run in runs])
    size = np.array([run.size for run in runs])
    light = np.array([run.light for run in runs])
    starts = np.array([run.baseline for run in runs])
    ends = np.array([run.baseline_at(run.box[2]) for run in runs])
    order = np.argsort(starts, kind="stable")
    ranked = starts[order]
    nearest: dict[int, tuple[float, int]] = {}  # right -> (gap, left)
    for left in range(len(runs)):
        reach = _LEVEL * _ALIKE * size[left]
        near = order[np.searchsorted(ranked, ends[left] - reach) : np.searchsorted(ranked, ends[left] + reach)]
        width = boxes[near, 0] - boxes[left, 2]
        small = np.minimum(size[near], size[left])
        fits = (np.abs(starts[near] - ends[left]) < _LEVEL * small) & (light[near] == light[left])
        fits &= (np.maximum(size[near], size[left]) < _ALIKE * small) & (boxes[near, 0] > boxes[left, 0])
        fits &= (width > -small) & (width < _FARTHEST * size[left]) & (boxes[near, 2] > boxes[left, 2])
        if not fits.any():
            continue
        best = int(np.argmin(np.where(fits, width, np.inf)))
        right, gap = int(near[best]), float(width[best])
        if right not in nearest or gap < nearest[right][0]:
            nearest[right] = (gap, left)
    strips = _Strips(boxes, starts, ends, size, pictures)
    gaps = []
    for right, (width, left) in sorted(nearest.items()):
        y = (ends[left] + starts[right] - size[left]) / 2
        low, high = np.searchsorted(ranked, [y - 2 * size[left], y + 3 * size[left]])
        others = np.concatenate([boxes[order[low:high]], np.array(pictures).reshape(-1, 4)])
        between = (others[:, 0] >= boxes[left, 2]) & (others[:, 2] <= boxes[right, 0])
        if not (between & (others[:, 1] < y) & (y < others[:, 3])).any():
            across = slice(max(int(boxes[left, 2]) - 1, 0), int(boxes[right, 0]) + 1)
            middle, reach = min(max(int(y), 0), len(found.rules) - 1), round(_CELL * size[left])
            ruled = bool(found.rules[middle, across].any())
            sides = (slice(max(middle - reach, 0), middle), slice(middle, middle + reach))
            boxed = ruled and all((found.rules[rows, across].mean(axis=1) > _MOSTLY).any() for rows in sides)
            gaps.append(_Gap(left, right, width, strips.through(left, right), ruled, boxed))
    return gaps


class _Strips:
    """The white space of a page on a grid of cells, and how far up and down it continues from each."""

    def __init__(self, boxes: Floats, starts: Floats, ends: Floats, size: Floats, pictures: list[Box]) -> None:
        self._boxes, self._starts, self._ends, self._size = boxes, starts, ends, size
        self._cell = max(2.0, float(np.median(size)) / 4)
        grid = np.ceil(boxes[:, 2:].max(axis=0) / self._cell).astype(int) + 1
        free = np.ones((grid[1], grid[0]), np.bool_)
        tops = np.maximum(np.minimum(starts, ends) - size, boxes[:, 1])
        bottoms = np.maximum(starts, ends)
        spans = np.stack([boxes[:, 0], tops, boxes[:, 2], bottoms], axis=1) / self._cell
        spans = np.concatenate([spans, np.array(pictures).reshape(-1, 4) / self._cell])
        for left, top, right, bottom in np.round(spans).astype(int).tolist():
            free[max(top, 0) : max(bottom, top + 1), left : max(right, left + 1)] = False
        self._up, self._down = _depths(free), _depths(free[::-1])[::-1]

    def through(self, left: int, right: int) -> Box:
        """The tallest strip through the gap between two runs."""
        cell = self._cell
        x0, x1 = self._boxes[left, 2], self._boxes[right, 0]
        y = (self._ends[left] + self._starts[right] - self._size[left]) / 2
        first, last = round(x0 / cell), round(x1 / cell)
        row = min(max(round(y / cell), 0), self._up.shape[0] - 1)
        wide = max(1, round(_STRIP * self._size[left] / cell))
        if last - first < wide:
            return (x0, y, x1, y)
        up = _least(self._up[row, first:last], wide)
        down = _least(self._down[row, first:last], wide)
        best = int(np.argmax(up + down))
        height = (row - up[best] + 1) * cell, (row + down[best]) * cell
        return ((first + best) * cell, float(height[0]), (first + best + wide) * cell, float(height[1]))


def _depths(free: NDArray[np.bool_]) -> NDArray[np.int32]:
    """(h, w) -> (h, w): the number of free cells from each cell upwards, with itself."""
    depths = np.zeros(free.shape, np.int32)
    above = np.zeros(free.shape[1], np.int32)
    for row in range(len(free)):
        above = (above + 1) * free[row]
        depths[row] = above
    return depths


def _least(values: NDArray[np.int32], wide: int) -> NDArray[np.int32]:
    """(n,) -> (n - wide + 1,): the least of each ``wide`` values."""
    return np.asarray(np.lib.stride_tricks.sliding_window_view(values, wide).min(axis=1), dtype=np.int32)


class _Sides:
    """What is to the left and to the right of each gap."""

    def __init__(self, runs: list[Line], gaps: list[_Gap]) -> None:
        self._size = np.array([run.size for run in runs])
        self._boxes = np.array([run.box for run in runs]).reshape(-1, 4)
        self._middle = np.array([run.baseline - run.size / 2 for run in runs])
        self._left = np.array([gap.left for gap in gaps], np.int64)
        self._right = np.array([gap.right for gap in gaps], np.int64)
        self._gap_start = self._boxes[self._left, 2]
        self._gap_end = self._boxes[self._right, 0]
        wide = [gap.width > _SPACE * self._scale(gap) for gap in gaps]
        self._start, self._end = _extents(self._boxes, gaps, wide)
        through = [self._through(gap) for gap in gaps]
        gutters = [self._is_gutter(gap, pairs) for gap, pairs in zip(gaps, through, strict=True)]
        self._start, self._end = _extents(self._boxes, gaps, gutters)
        self._kinds = {
            (gap.left, gap.right): self._decided(gap, pairs, gutter)
            for gap, pairs, gutter in zip(gaps, through, gutters, strict=True)
        }

    def kind(self, gap: _Gap) -> str:
        """ "space", "cell" or "column"."""
        return self._kinds[gap.left, gap.right]

    def _scale(self, gap: _Gap) -> float:
        return float(max(self._size[gap.left], self._size[gap.right]))

    def _through(self, gap: _Gap) -> Ints:
        """The gaps that the strip of this one goes through, with itself."""
        size = self._scale(gap)
        x0, y0, x1, y1 = gap.strip
        middle = self._middle[self._left]
        through = (middle > y0) & (middle < y1) & (self._gap_start <= x0 + size / 2) & (self._gap_end >= x1 - size / 2)
        through &= self._gap_end - self._gap_start >= _STRIP * size
        # Only gaps between the same two columns count, not those between others that lie farther apart.
        through &= (self._gap_start > self._start[gap.left]) & (self._gap_end < self._end[gap.right])
        return np.flatnonzero(through)

    def _is_gutter(self, gap: _Gap, pairs: Ints) -> bool:
        """Whether the gaps of the strip part columns: a rule or a wide gap does, or lines that start below each other.

        The gaps between the words of justified text may lie below each other too, but not so.
        """
        size = self._scale(gap)
        if gap.ruled:
            return True
        if len(pairs) < _ROWS or gap.width < _STRIP * size:
            return False
        if np.median(self._gap_end[pairs] - self._gap_start[pairs]) > _GUTTER * size:
            return True
        starts = self._gap_end[pairs]
        aligned = np.abs(starts - np.median(starts)) < _ALIGNED * size
        return bool(np.mean(aligned) > _MOSTLY and len(pairs) >= (_ROWS if gap.width > _SPACE * size else 2 * _ROWS))

    def _decided(self, gap: _Gap, pairs: Ints, gutter: bool) -> str:
        if gap.boxed:
            return "cell"
        size = self._scale(gap)
        x0, y0, _, y1 = gap.strip
        within = (self._middle > y0) & (self._middle < y1)
        left, right = self._boxes[gap.left], self._boxes[gap.right]
        before = within & (self._boxes[:, 2] <= x0 + size / 2) & (self._boxes[:, 2] > left[0])
        after = within & (np.abs(self._boxes[:, 0] - right[0]) < _INDENT * size)
        beside = min(np.count_nonzero(before), np.count_nonzero(after))
        if beside > _ROWS and len(pairs) < 0.5 * beside and gap.width > _SPACE * size:
            return "column"
        if gutter:
            pairs = pairs if len(pairs) else np.flatnonzero((self._left == gap.left) & (self._right == gap.right))
            longest_before = float(np.median(self._gap_start[pairs] - self._start[self._left[pairs]])) / size
            longest_after = float(np.median(self._end[self._right[pairs]] - self._gap_end[pairs])) / size
            return "column" if min(longest_before, longest_after) >= _LONG else "cell"
        short = y1 - y0 < _FLAT * size
        wide = _WIDEST if short else _WIDE
        return "space" if gap.width < wide * size else "cell"


def _extents(boxes: Floats, gaps: list[_Gap], gutters: list[bool]) -> tuple[Floats, Floats]:
    """(n, 4) -> for each run where the text before it starts, and where the text after it ends, up to the next gutter."""
    start, end = boxes[:, 0].copy(), boxes[:, 2].copy()
    inner = [gap for gap, gutter in zip(gaps, gutters, strict=True) if not gutter]
    for gap in sorted(inner, key=lambda gap: float(boxes[gap.right, 0])):
        start[gap.right] = start[gap.left]
    for gap in sorted(inner, key=lambda gap: -float(boxes[gap.left, 2])):
        end[gap.left] = end[gap.right]
    return start, end
