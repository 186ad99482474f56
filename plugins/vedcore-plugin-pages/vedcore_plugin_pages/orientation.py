"""Orientation: by how much a page is turned.

Letters stand on lines. Seen along the lines, their feet fall on few heights; seen from any other direction they are spread
out. So the direction in which the feet are most concentrated is that of the text.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vedcore_plugin_pages.components import Components, Floats
from vedcore_plugin_pages.ink import Pixels
from vedcore_plugin_pages.lines import Line

_MOST = 1500  # letters that are measured; more make the angle no more certain
_FEWEST = 6  # letters; fewer show no direction
_WIDEST = 16.0  # degrees
_STEPS = ((0.5, 16.0, 0.5), (0.1, 0.6, 0.25), (0.02, 0.12, 0.12))  # step, reach (degrees), bin (letter heights)
_BETTER = 1.1  # times: a turn that makes less of a difference is chance
_STRIP = 40.0  # letter heights: about a column, since the lines of two columns need not be level with each other
_UPRIGHT = 1.25  # times: what another direction must be better by
_EVIDENCE = 20  # letters whose feet are not level; fewer may be chance
_LEGIBLE = 8.0  # pixels: lower letters run together
_BEYOND = 0.22  # letter heights: a letter that ends this far from the others
_TURNED = 1.5  # times: heads that are not level are about four times as many as feet
_LEVEL = 0.12  # degrees: less than this is not worth a new sampling of the page

Matrix = NDArray[np.float64]
"""(2, 3): a map of points (x, y)."""


def find_turn(found: Components) -> tuple[int, float]:
    """The turn of the text: quarter turns clockwise (0 or 1), and the degrees clockwise that remain."""
    heights, widths = found.heights, found.widths
    if len(heights) < _FEWEST:
        return 0, 0.0
    size = _typical(np.maximum(heights, widths))
    letters = np.flatnonzero((np.maximum(heights, widths) > 0.5 * size) & (heights < 3 * size) & (widths < 12 * size))
    if len(letters) < _FEWEST:
        return 0, 0.0
    letters = letters[:: max(1, len(letters) // _MOST)]
    left, top, right, bottom = found.boxes[letters].T.astype(np.float64)
    middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
    level, degrees = _best_angle([(middle_x, bottom), (middle_x, top)], size)
    # Text that is read downwards or upwards has its feet at the left or at the right.
    upright, turned = _best_angle([(middle_y, -left), (middle_y, -right)], size)
    if upright > _UPRIGHT * level:
        return 1, turned
    return 0, degrees if abs(degrees) > _LEVEL else 0.0


def _typical(sizes: NDArray[np.int64]) -> float:
    """The size of the letters with most ink: the median, with each weighted by its size."""
    order = np.sort(sizes)
    return float(order[np.searchsorted(np.cumsum(order), order.sum() / 2)])


def _best_angle(points: list[tuple[Floats, Floats]], size: float) -> tuple[float, float]:
    """Sets of points (x, y) -> how concentrated the best set is in its best direction, and that direction in degrees."""
    best = (0.0, 0.0)
    for x, y in points:
        middle, score = 0.0, 0.0
        for step, reach, bin_size in _STEPS:
            angles = middle + np.arange(-round(reach / step), round(reach / step) + 1) * step
            angles = angles[np.abs(angles) <= _WIDEST]
            scores = np.array([_concentration(x, y, angle, bin_size * size, _STRIP * size) for angle in angles])
            # Among equals the one nearest to level.
            chosen = int(np.argmax(scores - 1e-6 * np.abs(angles)))
            middle, score = float(angles[chosen]), float(scores[chosen])
        flat = _concentration(x, y, 0.0, _STEPS[-1][2] * size, _STRIP * size)
        if score < _BETTER * flat:
            middle, score = 0.0, flat
        best = max(best, (score, middle))
    return best


def _concentration(x: Floats, y: Floats, degrees: float, bin_size: float, strip: float) -> float:
    """The mean number of points in a point's bin, when they are seen at this angle. Each strip of the page counts alone."""
    angle = np.deg2rad(degrees)
    heights = y * np.cos(angle) - x * np.sin(angle)
    bins = np.floor((heights - heights.min()) / max(bin_size, 0.5)).astype(np.int64)
    strips = ((x - x.min()) // strip).astype(np.int64)
    counts = np.bincount(strips * (bins.max() + 2) + bins).astype(np.float64)
    counts[1:] += 0.5 * counts[:-1]  # a line may lie across the border of two bins
    return float(np.square(counts).sum() / len(x))


def upside_down(found: Components, lines: list[Line]) -> bool:
    """Whether the text of a page with level lines stands on its head.

    The feet of most letters are level, and their heads are not: letters are small, or tall.
    """
    heads, feet = 0, 0
    for line in lines:
        boxes = found.boxes[line.members]
        single = boxes[:, 2] - boxes[:, 0] < 2 * line.size
        boxes = boxes[single & (boxes[:, 3] - boxes[:, 1] > 0.7 * line.size)]
        if len(boxes) < _FEWEST or line.size < _LEGIBLE:
            continue
        drop = line.slope * (boxes[:, 0] - line.box[0])
        top, bottom = boxes[:, 1] - drop, boxes[:, 3] - drop
        heads += int(np.count_nonzero(np.abs(top - np.median(top)) > _BEYOND * line.size))
        feet += int(np.count_nonzero(np.abs(bottom - np.median(bottom)) > _BEYOND * line.size))
    return feet > _EVIDENCE and feet > _TURNED * heads


def upright(shape: tuple[int, int], quarters: int, degrees: float) -> tuple[Matrix, tuple[int, int]]:
    """(H, W), the turn of the text -> the map from the image to the upright page, and the page's (H, W)."""
    height, width = shape
    angle = np.deg2rad(degrees + 90 * quarters)
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.array([[cosine, sine], [-sine, cosine]])
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64) @ turn.T
    low, high = corners.min(axis=0), corners.max(axis=0)
    new_width, new_height = (max(1, round(float(length))) for length in high - low)
    return np.hstack([turn, -low[:, None]]), (new_height, new_width)


def turned(pixels: Pixels, to_page: Matrix, size: tuple[int, int]) -> Pixels:
    """(H, W) -> (h, w): the image on the upright page. Beyond its edges the image goes on as it ends there."""
    page = cv2.warpAffine(
        pixels, pixel_map(to_page), size[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(page, dtype=np.uint8)


def pixel_map(matrix: Matrix) -> Matrix:
    """(2, 3) -> (2, 3): a map of points as a map of pixel indices. The middle of pixel 0 is at 0.5."""
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
    return shifted
