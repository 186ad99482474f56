"""Photographs: regions where dark and light ink mix, or where the paper is uneven. The paper of text is even."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vedcore_plugin_pages.ink import Ink, Pixels

Box = tuple[float, float, float, float]
"""left, top, right, bottom in pixels of the page."""

_CELL = 8  # pixels
_NEAR = 9  # cells: the neighbourhood in which ink is measured
_MIXED = 7.0  # grey levels, the mean by which the neighbourhood is darker than its paper, and by which it is lighter
_UNEVEN = 40  # grey levels between the papers of neighbouring cells
_EDGE = 7  # cells: the edge of a panel is thinner than this, a photograph is not
_SIDE = 10  # cells: a smaller region is a drawing or a sign
_MARGIN = 12.0  # pixels: a mark that near to a photograph is a part of it
_ROUNDS = 5  # of growing
_FILLED = 0.45  # of its box: what is less is no picture


def find_photographs(ink: Ink) -> list[Box]:
    """(H, W) ink -> the boxes around photographs."""
    height, width = ink.dark.shape
    grid = (max(1, width // _CELL), max(1, height // _CELL))
    mixed = np.minimum(_mean(ink.darker, grid), _mean(ink.lighter, grid)) > _MIXED
    paper = cv2.resize(ink.paper, grid, interpolation=cv2.INTER_AREA)
    near = np.ones((3, 3), np.uint8)
    uneven = cv2.subtract(cv2.dilate(paper, near), cv2.erode(paper, near)) > _UNEVEN
    busy = _changed((mixed | uneven).astype(np.uint8), cv2.MORPH_CLOSE, _EDGE // 2)
    busy = _changed(_changed(busy, cv2.MORPH_OPEN, _EDGE), cv2.MORPH_CLOSE, _SIDE)
    _, _, stats, _ = cv2.connectedComponentsWithStats(busy, connectivity=8)
    boxes = []
    for left, top, wide, high, area in stats[1:].tolist():
        if min(wide, high) >= _SIDE and area > _FILLED * wide * high:
            boxes.append(
                (left * _CELL, top * _CELL, min((left + wide) * _CELL, width), min((top + high) * _CELL, height))
            )
    return [(float(left), float(top), float(right), float(bottom)) for left, top, right, bottom in boxes]


def grown(photographs: list[Box], marks: list[Box]) -> list[Box]:
    """The photographs, with the marks at their edges, which are parts of them."""
    for _ in range(_ROUNDS):
        bigger = []
        for box in photographs:
            near = [mark for mark in marks if _apart(box, mark) < _MARGIN]
            bigger.append(_around([box, *near]))
        if bigger == photographs:
            break
        photographs = bigger
    return photographs


def shared(box: Box, other: Box) -> float:
    """The area that two boxes share."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    return max(width, 0.0) * max(height, 0.0)


def _apart(box: Box, other: Box) -> float:
    return max(other[0] - box[2], box[0] - other[2], other[1] - box[3], box[1] - other[3])


def _around(boxes: list[Box]) -> Box:
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return (min(lefts), min(tops), max(rights), max(bottoms))


def _changed(cells: Pixels, how: int, side: int) -> Pixels:
    """(h, w) -> (h, w): opened or closed with a square."""
    return np.asarray(cv2.morphologyEx(cells, how, np.ones((side, side), np.uint8)), dtype=np.uint8)


def _mean(contrast: Pixels, grid: tuple[int, int]) -> NDArray[np.float32]:
    """(H, W) -> (h, w): the mean around each cell."""
    cells = cv2.resize(contrast, grid, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.blur(cells.astype(np.float32), (_NEAR, _NEAR)), dtype=np.float32)
