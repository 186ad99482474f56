"""From a page to its regions."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vedcore import BlockRegion, LineRegion, PageRegion
from vedcore_plugin_pages import orientation
from vedcore_plugin_pages.blocks import find_blocks
from vedcore_plugin_pages.columns import find_rows, join_words
from vedcore_plugin_pages.components import Components, find_components
from vedcore_plugin_pages.crops import Source, cut_out
from vedcore_plugin_pages.ink import Pixels
from vedcore_plugin_pages.lines import collect_marks, find_lines
from vedcore_plugin_pages.photographs import find_photographs, inside

_MOST_PIXELS = 8_000_000  # of the copy in which lines are found; 9 pt at 300 dpi on A4 stays legible


def segment_page(image: NDArray[np.uint8], /) -> PageRegion:
    """(H, W, 3) RGB -> the regions of the page."""
    grey = np.asarray(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    height, width = grey.shape
    scale = min(1.0, float(np.sqrt(_MOST_PIXELS / grey.size)))
    small = grey
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    to_small = np.array([[small.shape[1] / width, 0, 0], [0, small.shape[0] / height, 0]])
    found = find_components(small)
    quarters, degrees = orientation.find_turn(found)
    to_page = to_small
    if quarters or degrees:
        turn, size = orientation.upright(small.shape, quarters, degrees)
        page = orientation.turned(small, turn, size, int(np.median(small)))
        to_page = np.hstack([turn[:, :2] @ to_small[:, :2], turn[:, 2:]])
        found = find_components(page)
    photographs, share = find_photographs(found.ink)
    runs = [run for run in find_lines(found) if inside(photographs, run.box) < 0.5]
    rows = find_rows(collect_marks(found, join_words(found, runs)))
    blocks = find_blocks(rows)
    source = Source(grey, to_page, found)
    regions = []
    for block in blocks:
        lines = tuple(cut_out(line, source) for row in block for line in row)
        regions.append(BlockRegion(_around(lines), lines))
    warnings = (f"a photograph covers {share:.0%} of the image",) if share >= 0.05 else ()
    whole = ((0.0, 0.0), (float(width), 0.0), (float(width), float(height)), (0.0, float(height)))
    return PageRegion(whole, tuple(regions), warnings)


Polygon = tuple[tuple[float, float], ...]


def _around(lines: tuple[LineRegion, ...]) -> Polygon:
    points = np.array([point for line in lines for point in line.polygon])
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return ((left, top), (right, top), (right, bottom), (left, bottom))
