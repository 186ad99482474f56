"""From the image of a page to its regions."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vedcore import BlockRegion, LineRegion, PageRegion
from vedcore_plugin_pages.blocks import find_blocks
from vedcore_plugin_pages.columns import find_rows, join_words
from vedcore_plugin_pages.components import Components, find_components
from vedcore_plugin_pages.crops import Source, cut_out
from vedcore_plugin_pages.ink import Pixels
from vedcore_plugin_pages.lines import Line, collect_marks, find_lines
from vedcore_plugin_pages.noise import without_noise, without_text
from vedcore_plugin_pages.orientation import Matrix, find_turn, turned, upright, upside_down
from vedcore_plugin_pages.photographs import Box, find_photographs

Polygon = tuple[tuple[float, float], ...]

_MOST_PIXELS = 8_000_000  # of the copy in which lines are found; 9 pt at 300 dpi on A4 stays legible
_WORTH_SAYING = 0.05  # of the image: a smaller photograph needs no warning


def segment_page(image: NDArray[np.uint8], /) -> PageRegion:
    """(H, W, 3) RGB -> the regions of the page."""
    grey = np.asarray(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    height, width = grey.shape
    source, lines, photographs = _upright_lines(grey)
    blocks = []
    for block in find_blocks(find_rows(source.found, lines, photographs)):
        cut = tuple(cut_out(line, source) for row in block for line in row)
        blocks.append(BlockRegion(_around(cut), cut))
    area = sum((right - left) * (bottom - top) for left, top, right, bottom in photographs)
    share = min(1.0, area / source.found.owner.size)
    warnings = (f"a photograph covers {share:.0%} of the image",) if share >= _WORTH_SAYING else ()
    return PageRegion(_rectangle(0.0, 0.0, float(width), float(height)), tuple(blocks), warnings)


def _upright_lines(grey: Pixels) -> tuple[Source, list[Line], list[Box]]:
    """(H, W) -> the upright page, its lines and its photographs."""
    page, to_page = _reduced(grey)
    found = find_components(page)
    quarters, degrees = find_turn(found)
    if quarters or degrees:
        page, to_page = _turned(page, to_page, quarters, degrees)
        found = find_components(page)
    lines, photographs = _lines(found)
    if upside_down(found, lines):
        page, to_page = _turned(page, to_page, 2, 0.0)
        found = find_components(page)
        lines, photographs = _lines(found)
    return Source(grey, to_page, found), lines, photographs


def _reduced(grey: Pixels) -> tuple[Pixels, Matrix]:
    """(H, W) -> a copy of bounded size, and the map to it."""
    height, width = grey.shape
    scale = min(1.0, float(np.sqrt(_MOST_PIXELS / grey.size)))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if size == (width, height):
        return grey, np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    small = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return small, np.array([[size[0] / width, 0.0, 0.0], [0.0, size[1] / height, 0.0]])


def _turned(page: Pixels, to_page: Matrix, quarters: int, degrees: float) -> tuple[Pixels, Matrix]:
    """The page after a turn, and the map from the image to it."""
    turn, size = upright((page.shape[0], page.shape[1]), quarters, degrees)
    matrix = np.hstack([turn[:, :2] @ to_page[:, :2], (turn[:, :2] @ to_page[:, 2] + turn[:, 2])[:, None]])
    return turned(page, turn, size), matrix


def _lines(found: Components) -> tuple[list[Line], list[Box]]:
    """The lines of an upright page, in no order, and its photographs."""
    runs = find_lines(found)
    photographs = without_text(found, runs, find_photographs(found.ink))
    lines = collect_marks(found, join_words(found, runs, photographs))
    return without_noise(found, lines, photographs), photographs


def _around(lines: tuple[LineRegion, ...]) -> Polygon:
    """The upright rectangle around lines."""
    points = np.array([point for line in lines for point in line.polygon])
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return _rectangle(left, top, right, bottom)


def _rectangle(left: float, top: float, right: float, bottom: float) -> Polygon:
    return ((left, top), (right, top), (right, bottom), (left, bottom))
