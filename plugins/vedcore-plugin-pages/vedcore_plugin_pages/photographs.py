"""Photographs: regions where dark and light ink mix, or where the paper is uneven. The paper of text is even."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vedcore_plugin_pages.ink import Ink, Pixels

Cells = NDArray[np.bool_]
"""(h, w): true for cells of 8 x 8 pixels within a photograph."""

_CELL = 8  # pixels
_NEAR = 9  # cells: the neighbourhood in which ink is measured
_MIXED = 0.04  # of the neighbourhood, of each of dark and light ink
_UNEVEN = 40  # grey levels between the papers of neighbouring cells
_EDGE = 7  # cells: the edge of a panel is thinner than this, a photograph is not
_SIDE = 10  # cells: a smaller region is a drawing or a sign
_FILLED = 0.45  # of its box: what is less is no picture


def find_photographs(ink: Ink) -> Cells:
    """(H, W) ink -> the cells of photographs."""
    height, width = ink.dark.shape
    grid = (max(1, width // _CELL), max(1, height // _CELL))
    mixed = np.minimum(_density(ink.dark, grid), _density(ink.light, grid)) > _MIXED
    paper = cv2.resize(ink.paper, grid, interpolation=cv2.INTER_AREA)
    near = np.ones((3, 3), np.uint8)
    uneven = cv2.subtract(cv2.dilate(paper, near), cv2.erode(paper, near)) > _UNEVEN
    busy = (mixed | uneven).astype(np.uint8)
    busy = cv2.morphologyEx(busy, cv2.MORPH_CLOSE, np.ones((_EDGE // 2, _EDGE // 2), np.uint8))
    busy = cv2.morphologyEx(busy, cv2.MORPH_OPEN, np.ones((_EDGE, _EDGE), np.uint8))
    busy = cv2.morphologyEx(busy, cv2.MORPH_CLOSE, np.ones((_SIDE, _SIDE), np.uint8))
    count, _, stats, _ = cv2.connectedComponentsWithStats(busy, connectivity=8)
    found = np.zeros(busy.shape, np.bool_)
    for index in range(1, count):
        left, top, wide, high, area = stats[index].tolist()
        if min(wide, high) >= _SIDE and area > _FILLED * wide * high:
            found[top : top + high, left : left + wide] = True
    return found


def inside(photographs: Cells, box: tuple[float, float, float, float]) -> float:
    """The share of a box in pixels that lies in photographs."""
    left, top, right, bottom = (int(value) // _CELL for value in box)
    part = photographs[top : bottom + 1, left : right + 1]
    return float(part.mean()) if part.size else 0.0


def _density(mask: Pixels, grid: tuple[int, int]) -> NDArray[np.float32]:
    """(H, W) -> (h, w): the share of ink around each cell."""
    cells = cv2.resize(mask * np.uint8(255), grid, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.blur(cells.astype(np.float32) / 255, (_NEAR, _NEAR)), dtype=np.float32)
