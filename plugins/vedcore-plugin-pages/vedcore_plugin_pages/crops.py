"""Crops: a line cut from the image, upright and level, dark on white, with nothing of its neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vedcore import LineRegion
from vedcore_plugin_pages.components import Components
from vedcore_plugin_pages.ink import Pixels
from vedcore_plugin_pages.lines import Line
from vedcore_plugin_pages.orientation import Matrix, pixel_map

_MARGIN = 0.12  # of the height of the ink, above and below
_SIDE = 0.3  # of the height of the ink, before and after
_LEAST_HEIGHT = 40  # pixels: a lower crop is enlarged, since a reader enlarges with a worse filter
_MOST_ENLARGED = 4.0
_MOST_HEIGHT = 160  # pixels: a higher crop is reduced; no reader sees more
_HALO = 0.12  # letter heights around the ink that belong to it: the soft edges of its strokes


@dataclass(frozen=True, slots=True)
class Source:
    """Where the lines of a page are cut from.

    grey: (H, W) the image. to_page: the map from its points to those of the upright page. found: of the page.
    """

    grey: Pixels
    to_page: Matrix
    found: Components


def cut_out(line: Line, source: Source) -> LineRegion:
    """The region of a line."""
    corners, height, width = _outline(line, source)
    to_image = np.asarray(cv2.invertAffineTransform(source.to_page), dtype=np.float64)
    scale = float(np.sqrt(abs(np.linalg.det(to_image[:, :2]))))
    target = float(np.clip(height * scale, _LEAST_HEIGHT, _MOST_HEIGHT))
    factor = min(target / height, _MOST_ENLARGED * scale)
    shape = (max(1, round(height * factor)), max(1, round(width * factor)))
    to_page = _from_crop(corners, shape)
    polygon = corners @ to_image[:, :2].T + to_image[:, 2]
    crop_to_image = _composed(to_image, to_page)
    pixels = _sampled(source.grey, crop_to_image, shape, factor / scale)
    own = _own_ink(line, source.found, to_page, shape)
    return LineRegion(tuple((float(x), float(y)) for x, y in polygon), _on_white(pixels, own, line, factor))


def _outline(line: Line, source: Source) -> tuple[NDArray[np.float64], float, float]:
    """The corners of a line's crop on the page, its height and width."""
    boxes = source.found.boxes[line.members].astype(np.float64)
    middle = (boxes[:, 0] + boxes[:, 2]) / 2
    drop = line.slope * (middle - line.box[0])
    top, bottom = float((boxes[:, 1] - drop).min()), float((boxes[:, 3] - drop).max())
    # A letter that touches another line does not make this one higher.
    top = max(top, line.baseline - 2.2 * line.size)
    bottom = min(bottom, line.baseline + 1.0 * line.size)
    ink = max(bottom - top, 2.0)
    left, right = line.box[0] - _SIDE * ink, line.box[2] + _SIDE * ink
    top, bottom = top - _MARGIN * ink, bottom + _MARGIN * ink
    start, end = line.slope * (left - line.box[0]), line.slope * (right - line.box[0])
    corners = [(left, top + start), (right, top + end), (right, bottom + end), (left, bottom + start)]
    return np.array(corners), bottom - top, right - left


def _from_crop(corners: NDArray[np.float64], shape: tuple[int, int]) -> Matrix:
    """The map from points of the crop to those of the page."""
    across = (corners[1] - corners[0]) / shape[1]
    down = (corners[3] - corners[0]) / shape[0]
    return np.stack([across, down, corners[0]], axis=1)


def _composed(outer: Matrix, inner: Matrix) -> Matrix:
    """The map that applies ``inner``, then ``outer``."""
    return np.hstack([outer[:, :2] @ inner[:, :2], (outer[:, :2] @ inner[:, 2] + outer[:, 2])[:, None]])


def _sampled(grey: Pixels, to_image: Matrix, shape: tuple[int, int], factor: float) -> Pixels:
    """(H, W) -> (h, w) of the crop."""
    if factor < 0.6:  # average what falls on one pixel: sample finely, then reduce
        fine = (round(shape[0] / factor), round(shape[1] / factor))
        matrix = to_image.copy()
        matrix[:, :2] *= factor
        pixels = _sampled(grey, matrix, fine, 1.0)
        return np.asarray(cv2.resize(pixels, shape[::-1], interpolation=cv2.INTER_AREA), dtype=np.uint8)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    found = cv2.warpAffine(grey, pixel_map(to_image), shape[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, dtype=np.uint8)


def _own_ink(line: Line, found: Components, to_page: Matrix, shape: tuple[int, int]) -> Pixels:
    """(h, w): 1 where the crop shows ink of this line."""
    own = np.zeros(int(found.owner.max()) + 1 if found.owner.size else 1, np.uint8)
    left, top, right, bottom = (int(value) for value in line.box)
    part = found.owner[max(top, 0) : bottom + 1, max(left, 0) : right + 1]
    own[line.members + 1] = 255
    mask = own[part]
    matrix = to_page.copy()
    matrix[:, 2] -= [max(left, 0), max(top, 0)]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(mask, pixel_map(matrix), shape[::-1], flags=flags) > 127, dtype=np.uint8)


def _on_white(pixels: Pixels, own: Pixels, line: Line, factor: float) -> Pixels:
    """(h, w) grey levels and the line's own ink -> (h, w): dark ink on white, everything else white."""
    halo = max(1, round(_HALO * line.size * factor))
    near = cv2.dilate(own, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * halo + 1, 2 * halo + 1)))
    if line.light:
        pixels = 255 - pixels
    paper = float(np.median(pixels[near == 0])) if (near == 0).any() else 255.0
    ink = float(np.percentile(pixels[own > 0], 20)) if own.any() else 0.0
    scaled = (pixels.astype(np.float32) - ink) * (255.0 / max(paper - ink, 1.0))
    scaled[near == 0] = 255
    return np.asarray(np.clip(scaled, 0, 255), dtype=np.uint8)
