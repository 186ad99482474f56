"""Evidence: whether lines are text, or marks that happen to stand in a row.

On a page of text nearly all marks as large as its letters stand in lines. In photographs and among specks most do not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vedcore_plugin_pages.components import Components
from vedcore_plugin_pages.lines import Box, Line

_LEAST = 0.5  # of the marks as large as letters; pages of text with pictures have 0.6 or more, photographs 0.4 or less
_NEARBY = 0.8  # of those around a line, if the page has too few
_OF_ALL = 0.75  # of the squared heights of all marks, if no line is long
_SMALLEST, _LARGEST = 0.6, 1.8  # times the size of the text: marks as large as letters
_AROUND = 3.0  # letter heights around a line


def without_chance(found: Components, lines: list[Line], sure: list[Line], photographs: list[Box]) -> list[Line]:
    """The lines if enough of the page's marks stand in them; otherwise those of ``sure`` of which that is true nearby.

    sure: the lines that are long and regular. Without any, marks of all sizes count, those in photographs too.
    """
    if not lines:
        return lines
    in_lines = _members(found, lines)
    if sure:
        marks = _as_large(found, _size(sure)) & (in_lines | ~_inside(found, photographs))
        enough = np.count_nonzero(marks & in_lines) >= _LEAST * np.count_nonzero(marks)
    else:
        # Squared, so that a few letters outweigh many specks; a drawing counts no more than a large letter.
        squares = np.minimum(found.heights, _LARGEST * _size(lines)) ** 2
        enough = squares[in_lines].sum() >= _OF_ALL * squares.sum()
    if enough:
        return lines
    in_sure = _members(found, sure)
    certain = set(map(id, sure))
    return [line for line in lines if id(line) in certain and _stands_out(found, line, in_sure)]


def _stands_out(found: Components, line: Line, in_sure: NDArray[np.bool_]) -> bool:
    """Whether enough of the marks around a line stand in lines."""
    left, top, right, bottom = line.box
    around = _AROUND * line.size
    boxes = found.boxes
    near = (boxes[:, 0] < right + around) & (boxes[:, 2] > left - around)
    near &= (boxes[:, 1] < bottom + around) & (boxes[:, 3] > top - around)
    near &= _as_large(found, line.size)
    return bool(np.count_nonzero(near & in_sure) >= _NEARBY * np.count_nonzero(near))


def _members(found: Components, lines: list[Line]) -> NDArray[np.bool_]:
    """(N,): whether a component is in one of the lines."""
    members = np.zeros(len(found.boxes), np.bool_)
    for line in lines:
        members[line.members] = True
    return members


def _inside(found: Components, boxes: list[Box]) -> NDArray[np.bool_]:
    """(N,): whether the middle of a component is in one of the boxes."""
    x, y = (found.boxes[:, :2] + found.boxes[:, 2:]).T / 2
    inside = np.zeros(len(x), np.bool_)
    for left, top, right, bottom in boxes:
        inside |= (left < x) & (x < right) & (top < y) & (y < bottom)
    return inside


def _as_large(found: Components, size: float) -> NDArray[np.bool_]:
    """(N,): whether a component is about as large as letters of this size."""
    return np.asarray((_SMALLEST * size < found.heights) & (found.heights < _LARGEST * size), dtype=np.bool_)


def _size(lines: list[Line]) -> float:
    """The size of most of the letters."""
    sizes = np.array([line.size for line in lines])
    letters = np.array([len(line.members) for line in lines])
    order = np.argsort(sizes)
    return float(sizes[order][np.searchsorted(np.cumsum(letters[order]), letters.sum() / 2)])
