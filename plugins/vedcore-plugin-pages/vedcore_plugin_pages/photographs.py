"""Photographs: regions where dark and light ink mix. Text has one of the two, since its paper is even."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vedcore_plugin_pages.ink import Ink, Pixels

_CELL = 8  # pixels
_NEAR = 9  # cells: the neighbourhood in which ink is measured
_LEAST = 0.04  # of the neighbourhood, of each of dark and light
_SIDE = 10  # cells: a smaller region is a drawing or a sign


def find_photographs(ink: Ink) -> tuple[NDArray[np.bool_], float]:
    """(H, W) ink -> (h, w) cells of 8 pixels within photographs, and the share of the page that they cover."""
    height, width = ink.dark.shape
    grid = (max(1, width // _CELL), max(1, height // _CELL))
    dark, light = _density(ink.dark, grid), _density(ink.light, grid)
    mixed = (np.minimum(dark, light) > _LEAST).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mixed, connectivity=8)
    found = np.zeros(mixed.shape, np.bool_)
    for index in range(1, count):
        left, top, wide, high, area = stats[index].tolist()
        if min(wide, high) >= _SIDE and area > 0.3 * wide * high:
            found[top : top + high, left : left + wide] = True
    return found, float(found.mean())


def inside(photographs: NDArray[np.bool_], box: tuple[float, float, float, float]) -> float:
    """The share of a box in pixels that lies in photographs."""
    left, top, right, bottom = (int(value) // _CELL for value in box)
    part = photographs[top : bottom + 1, left : right + 1]
    return float(part.mean()) if part.size else 0.0


def _density(mask: Pixels, grid: tuple[int, int]) -> NDArray[np.float32]:
    """(H, W) -> (h, w): the share of ink around each cell."""
    cells = cv2.resize(mask * np.uint8(255), grid, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.blur(cells.astype(np.float32) / 255, (_NEAR, _NEAR)), dtype=np.float32)
