"""Decide whether an image is a page or a line, from the lines that a segmenter finds in it.

In doubt it is a line: a segmenter is made for pages, and on the image of a single line it may take specks, rulings and the
ends of neighbouring lines for text.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

from vedcore.contract.regions import PageRegion, Polygon

_PITCH = 0.9  # of their height: two lines whose middles are closer are parts of one, which leans
_ALIKE = 0.6  # times the height of the taller: parts of a line differ by more
_SHARED = 0.5  # of the shorter line is above or below the other; parts of a line are beside each other
_MOST = 60  # lines that are compared; the first of a page decide as well as all
_OBLONG = 3.0  # times as wide as high: such an image has no line that is turned or has much space around it
_TURNED = 20.0  # degrees: a line that leans by less is level
_LEAST_SHARE = 1 / 4  # of the height of the image: a lower line has much space above and below
_ROOM = 64  # pixels: in a lower image there is not much space


@dataclass(frozen=True, slots=True)
class _Placed:
    """A line, seen in the direction of the first line: its extent along it, its middle across it, and its height."""

    start: float
    end: float
    middle: float
    height: float


def is_page(page: PageRegion, size: tuple[int, int]) -> bool:
    """Whether the lines in an image of ``size`` (width, height) make it a page.

    Two whole lines, one below the other, make a page. So does text that is turned, or low in a high image. In an oblong image
    only level lines do.
    """
    width, height = size
    whole = [line.polygon for line in page.lines[:_MOST] if _is_inside(line.polygon, size)]
    if not whole:
        return False
    across, down = _direction(whole[0])
    lines = [_placed(polygon, across, down) for polygon in whole]
    below = any(_is_below(one, other) for one, other in combinations(lines, 2))
    turned = across < math.cos(math.radians(_TURNED))
    if width > _OBLONG * height:
        return below and not turned
    return below or turned or (height >= _ROOM and max(line.height for line in lines) < _LEAST_SHARE * height)


def _is_inside(polygon: Polygon, size: tuple[int, int]) -> bool:
    """Whether the middles of the upper and of the lower side are in the image. A line at the edge is cut off."""
    for (x, y), (other_x, other_y) in (polygon[:2], polygon[2:]):
        if not (0 <= (x + other_x) / 2 <= size[0] and 0 <= (y + other_y) / 2 <= size[1]):
            return False
    return True


def _direction(polygon: Polygon) -> tuple[float, float]:
    (left, top), (right, end), _, _ = polygon
    length = math.hypot(right - left, end - top) or 1.0
    return (right - left) / length, (end - top) / length


def _placed(polygon: Polygon, across: float, down: float) -> _Placed:
    along = [x * across + y * down for x, y in polygon]
    middle = sum(y * across - x * down for x, y in polygon) / len(polygon)
    return _Placed(min(along), max(along), middle, math.dist(polygon[0], polygon[3]))


def _is_below(one: _Placed, other: _Placed) -> bool:
    low, high = sorted((one.height, other.height))
    shared = min(one.end, other.end) - max(one.start, other.start)
    shorter = min(one.end - one.start, other.end - other.start)
    apart = abs(one.middle - other.middle) > _PITCH * (low + high) / 2
    return apart and low >= _ALIKE * high and shared >= _SHARED * shorter
