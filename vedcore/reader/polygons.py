"""Polygons of lines and of their parts, in pixels of the image. See ``vedcore.contract.regions``."""

from __future__ import annotations

import math

from vedcore.contract.regions import Point, Polygon
from vedcore.reader.reading import Box


def rectangle(size: tuple[int, int]) -> Polygon:
    """The corners of an image of ``size`` (width, height), clockwise from the upper left."""
    width, height = map(float, size)
    return ((0.0, 0.0), (width, 0.0), (width, height), (0.0, height))


def part_of(polygon: Polygon, left: float, top: float, right: float, bottom: float) -> Polygon:
    """A part of a polygon with four corners. The sides are fractions of its width and height, 0 to 1."""
    return (
        _inside(polygon, left, top),
        _inside(polygon, right, top),
        _inside(polygon, right, bottom),
        _inside(polygon, left, bottom),
    )


def bounding_box(polygon: Polygon) -> Box:
    """The smallest upright box around a polygon, in whole pixels."""
    xs, ys = zip(*polygon, strict=True)
    # Rounded first, so that 12.000000001 from an interpolation does not add a pixel.
    return (
        math.floor(round(min(xs), 3)),
        math.floor(round(min(ys), 3)),
        math.ceil(round(max(xs), 3)),
        math.ceil(round(max(ys), 3)),
    )


def _inside(polygon: Polygon, across: float, down: float) -> Point:
    """The point at these fractions of the width and of the height, by bilinear interpolation."""
    corners = zip(
        polygon, ((1 - across) * (1 - down), across * (1 - down), across * down, (1 - across) * down), strict=True
    )
    weighted = [(x * weight, y * weight) for (x, y), weight in corners]
    return (sum(x for x, _ in weighted), sum(y for _, y in weighted))
