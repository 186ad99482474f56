"""The contract of a segmenter as a pytest class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from typing import Any, ClassVar

import hypothesis
import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from vedcore.contract.hookspecs import GROUP, PROTOCOL, Segmenter
from vedcore.contract.regions import BlockRegion, LineRegion, PageRegion, Polygon
from vedcore.registry import entry_name
from vedcore.testing.checks.base import must

Pixels = NDArray[np.uint8]

_SLACK = 2.0  # pixels that a corner may lie outside the image
_MARGIN = 0.5  # heights of the line that it may lie outside besides, since a crop has a margin
_STRETCH = 1.3  # the most that a crop may be wider or narrower than its polygon


class SegmenterContract:
    """The laws that every segmenter obeys. Subclass it in a test module and set ``record``.

    pages: images (H, W, 3) with text, on which the segmenter must find lines.
    """

    record: ClassVar[Segmenter]
    pages: ClassVar[Sequence[Pixels]] = ()

    def test_the_entry_point_has_the_kind_and_the_name(self) -> None:
        """A request finds the plugin by the name of its entry point, without an import."""
        names = {entry.name for entry in metadata.entry_points(group=GROUP)}
        must(entry_name(self.record) in names, f"no entry point {entry_name(self.record)!r} of {GROUP} is installed")
        must(
            self.record.protocol == PROTOCOL,
            f"the record was written for contract {self.record.protocol}, this is {PROTOCOL}",
        )

    @hypothesis.settings(deadline=None, max_examples=20, derandomize=True, database=None)
    @hypothesis.given(st.data())
    def test_every_image_has_valid_regions(self, data: st.DataObject) -> None:
        """Any size from one pixel on, any content: the segmenter raises no error."""
        height, width = data.draw(st.tuples(*[st.sampled_from([1, 2, 7, 31, 64, 200])] * 2))
        check_page(self._segment(draw_image(height, width, data.draw(st.integers(0, 2**32 - 1)))), height, width)

    def test_a_blank_image_has_no_lines(self) -> None:
        """White, grey and black paper."""
        for grey in (255, 128, 0):
            page = self._segment(np.full((120, 160, 3), grey, dtype=np.uint8))
            check_page(page, 120, 160)
            must(page.lines == (), f"{len(page.lines)} lines on an image that is grey level {grey} everywhere")

    def test_a_page_has_lines_and_valid_regions(self) -> None:
        """Each of ``pages``."""
        if not self.pages:
            import pytest

            pytest.skip("set pages: images with text, on which the segmenter must find lines")
        for index, image in enumerate(self.pages):
            page = self._segment(image)
            check_page(page, *image.shape[:2])
            must(bool(page.lines), f"no line on pages[{index}]")

    def test_an_image_is_not_changed_and_has_the_same_regions_again(self) -> None:
        """Also in four threads at once."""
        for image in (*self.pages, draw_image(200, 300, 0)):
            before, first = image.copy(), self._segment(image)
            must(np.array_equal(image, before), "the segmenter has changed the image")
            with ThreadPoolExecutor(4) as threads:
                for again in threads.map(self._segment, [image] * 4):
                    must(again == first, "the regions differ from those of an earlier call")
                    for line, other in zip(first.lines, again.lines, strict=True):
                        must(
                            np.array_equal(line.pixels, other.pixels), "the pixels differ from those of an earlier call"
                        )

    def _segment(self, image: Pixels) -> PageRegion:
        return type(self).record.segmenter(image)


def check_page(page: Any, height: int, width: int) -> None:
    """Raises LawBroken unless ``page`` is a valid result for an image of this size."""
    must(isinstance(page, PageRegion), f"a segmenter returns a PageRegion, got {type(page).__name__}")
    check_polygon(page.polygon, height, width)
    for block in page.blocks:
        must(isinstance(block, BlockRegion), f"blocks are BlockRegions, got {type(block).__name__}")
        must(bool(block.lines), "a block has no lines; leave it out")
        for line in block.lines:
            check_line(line, height, width)
        check_polygon(block.polygon, height, width, max(map(_margin, block.lines)))
    must(
        all(isinstance(warning, str) and warning for warning in page.warnings), f"warnings are texts: {page.warnings!r}"
    )


def check_line(line: Any, height: int, width: int) -> None:
    """Raises LawBroken unless ``line`` is a valid line of an image of this size."""
    must(isinstance(line, LineRegion), f"lines are LineRegions, got {type(line).__name__}")
    must(len(line.polygon) == 4, f"a line has four corners, got {line.polygon}")
    check_polygon(line.polygon, height, width, _margin(line))
    pixels = line.pixels
    must(pixels.dtype == np.uint8, f"pixels are uint8, got {pixels.dtype}")
    must(pixels.size > 0, f"the pixels of a line are empty: {pixels.shape}")
    must(pixels.ndim == 2 or pixels.shape[2:] == (3,), f"pixels are (h, w) or (h, w, 3), got {pixels.shape}")
    (first, second, _, fourth), (rows, columns) = line.polygon, pixels.shape[:2]
    expected = math.dist(first, second) * rows / max(math.dist(first, fourth), 1e-6)
    must(
        abs(columns - expected) <= 3 + (_STRETCH - 1) * max(columns, expected),
        f"pixels {rows} x {columns} do not have the proportions of the polygon {line.polygon}: the first corner is the upper "
        "left one as the text is read, the second the upper right one",
    )


def _margin(line: LineRegion) -> float:
    return _MARGIN * math.dist(line.polygon[0], line.polygon[3])


def check_polygon(polygon: Polygon, height: int, width: int, margin: float = 0.0) -> None:
    """Raises LawBroken unless ``polygon`` lies in an image of this size and its corners go round clockwise."""
    must(isinstance(polygon, tuple), f"a polygon is a tuple of corners, got {type(polygon).__name__}")
    must(len(polygon) >= 3, f"a polygon has at least three corners: {polygon!r}")
    for x, y in polygon:
        slack = _SLACK + margin
        inside = -slack <= x <= width + slack and -slack <= y <= height + slack
        must(inside, f"the corner ({x}, {y}) is outside the image of {width} x {height}")
    following = (*polygon[1:], polygon[0])
    area = sum(x * other_y - other_x * y for (x, y), (other_x, other_y) in zip(polygon, following, strict=True))
    must(area >= -1e-6, f"the corners go round counterclockwise: {polygon}")


def draw_image(height: int, width: int, seed: int) -> Pixels:
    """(H, W, 3): noise, or dark and light boxes on paper, chosen by ``seed``."""
    chance = np.random.default_rng(seed)
    if seed % 3 == 0:
        return chance.integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = np.full((height, width, 3), chance.integers(0, 256), dtype=np.uint8)
    for _ in range(int(chance.integers(0, 60))):
        top, left = int(chance.integers(0, height)), int(chance.integers(0, width))
        tall, wide = (int(value) for value in chance.integers(1, 20, 2))
        image[top : top + tall, left : left + wide] = chance.integers(0, 256)
    return image
