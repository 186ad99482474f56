"""Where a word that is too wide for the model is cut: where its ink is thinnest, into parts that overlap.

Each letter near a cut is whole in one of the two parts, so that their texts can be merged.
"""

from __future__ import annotations

import math

import numpy as np

from vedcore.vision.ink import Counts

_LEAST_OVERLAP, _MOST_OVERLAP = 1.0, 2.0  # heights: two to four letters
_SHARE = 0.25  # of the longest part: a narrow part overlaps less
_SWAY = 0.75  # heights between a cut and the place where the parts are even


def cut_word(ink: Counts, *, longest: float, height: float) -> list[tuple[int, int]]:
    """(W,) pixels of ink in each column of a word -> the columns (start, end) of its parts, at most ``longest`` wide.

    They are the fewest, and fairly even. Each begins one to two heights before the end of the part before.
    """
    width, longest = len(ink), max(math.floor(longest), 4)
    least = max(1, math.floor(min(_LEAST_OVERLAP * height, _SHARE * longest)))
    most = math.floor(_MOST_OVERLAP / _LEAST_OVERLAP * least)
    usual = (least + most) / 2
    count = max(1, math.ceil((width - usual) / (longest - usual)))
    step = (width - usual) / count  # from the start of an even part to that of the next
    parts, start = [], 0
    for number in range(1, count):
        rest = count - number
        earliest = width - rest * longest + (rest - 1) * least  # a later start leaves no more than the rest can hold
        even = number * step + usual
        last = min(start + longest, math.floor(even + _SWAY * height), width - 1)
        first = max(earliest + least, math.ceil(even - _SWAY * height), start + most + 1)
        end = _thinnest(ink, first, last, even)
        parts.append((start, end))
        start = _thinnest(ink, max(end - most, earliest), end - least, end - usual)
    return [*parts, (start, width)]


def _thinnest(ink: Counts, first: int, last: int, wanted: float) -> int:
    """The column from ``first`` to ``last`` with the least ink.

    Of several without ink, the middle of the widest gap; otherwise the nearest to ``wanted``.
    """
    columns = np.arange(min(first, last), last + 1)
    filled = np.flatnonzero(ink)
    at = np.searchsorted(filled, columns)
    edges = np.concatenate([[-1], filled, [len(ink)]])
    before, after = edges[at] + 1, edges[at + 1]  # the gap of each column without ink
    blank = ink[columns] == 0
    gap = np.where(blank, after - before, 0)
    away = np.abs(columns - np.where(blank, (before + after) / 2, wanted))
    return int(columns[np.lexsort((np.abs(columns - wanted), away, -gap, ink[columns]))[0]])
