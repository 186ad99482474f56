"""The regions of a page: a segmenter finds blocks in a page, and lines in a block.

Polygons are in pixels of the image that the segmenter got: x to the right, y down, (0, 0) the upper left corner of the image.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]
"""(x, y) in pixels of the image."""

Polygon = tuple[Point, ...]
"""At least three corners, clockwise as seen on the image."""


@dataclass(frozen=True, slots=True)
class LineRegion:
    """A line of text.

    polygon: four corners in the direction of the text: the upper left corner of the line as one reads it, then the upper
    right, the lower right and the lower left. A line that is read upwards begins at its lower left in the image. The corners
    of a line at the edge may lie outside by the margin of its crop.
    pixels: (h, w) or (h, w, 3) uint8, the line cut out and turned so that its text is upright and level. Its corners are the
    corners of the polygon: column x of w columns lies at x / w of the way from the first corner to the second.
    """

    polygon: Polygon
    pixels: NDArray[np.uint8] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class BlockRegion:
    """Lines that are read one after another without a break: a paragraph, a heading, a column of a table."""

    polygon: Polygon
    lines: tuple[LineRegion, ...]


@dataclass(frozen=True, slots=True)
class PageRegion:
    """A page: its blocks in reading order.

    polygon: the paper within the image; the whole image if nothing surrounds the paper.
    warnings: what a reader of the text should know, each a short sentence ("a photograph covers 60 % of the page").
    """

    polygon: Polygon
    blocks: tuple[BlockRegion, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[LineRegion, ...]:
        """The lines of all blocks, in reading order."""
        return tuple(line for block in self.blocks for line in block.lines)
