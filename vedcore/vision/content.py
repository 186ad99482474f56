"""What an image looks like before a model reads it: blank paper, a line of text, a page of text, or a photograph.

Shapes: h x w pixels of the image in grey, after a large image is shrunk; N tiles.

In doubt an image is a line: this is the common case, and a warning about a line that reads well is worse than no warning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Levels = NDArray[np.float32]

_AREA = 300_000  # pixels: a larger image is shrunk to about this many
_CONTRAST = 16  # grey levels between ink and paper, as in ink.py
_GRAIN = 3.5  # times the noise: what noise alone does not reach when nine pixels are averaged
_LOW = 24  # pixels: in a lower image letters fill so much that noise cannot be told from them
_UNEVEN = 0.1  # of the contrast: paper under text is more even than this
_PAPER = 0.6  # of the image: text leaves more paper than this
_CLEAR = 8.0  # times the noise: with less contrast, paper is not even
_LEAST_TILES = 60  # with contours in a photograph
_MOST_OBLONG = 2.5  # longer images are lines
_STRIPS = 8
_EDGES, _DENSITY = 8, 0.1  # the least edges in a row of a strip with text, and their share of the strip's width
_LEAST_ROWS = 3  # of a page: two can be a line with an underline, or a colon


@dataclass(frozen=True, slots=True)
class Content:
    """What an image looks like. evidence: why, in a few words, such as "about 14 lines of text"."""

    kind: Literal["blank", "line", "page", "photograph"]
    evidence: str


def content_of(pixels: Pixels) -> Content:
    """(H, W, 3) uint8 -> what the image looks like."""
    grey = _shrunk(pixels)
    if min(grey.shape) < 4:
        contrast = int(grey.max(initial=0)) - int(grey.min(initial=255))
        return Content("line", "too small to tell") if contrast >= _CONTRAST else Content("blank", "no ink")
    noise = min(_noise(grey), _noise(grey.T))
    high, low = _tiles(grey)
    grain = _GRAIN * noise if min(grey.shape) >= _LOW else 0.0
    if (high - low).max() < max(_CONTRAST, grain):
        return Content("blank", "no ink")
    if _is_photograph(grey, noise, high, low):
        return Content("photograph", "many tones and no paper")
    rows = _rows_of_text(grey, noise)
    if rows:
        return Content("page", f"about {rows} lines of text")
    return Content("line", "one row of text")


def _shrunk(pixels: Pixels) -> Pixels:
    """(H, W, 3) -> (h, w): the brightness, each pixel the mean of a square of pixels."""
    height, width = pixels.shape[:2]
    side = min(max(1, round((height * width / _AREA) ** 0.5)), max(1, min(height, width)))
    h, w = height // side, width // side
    square = pixels[: h * side, : w * side]
    sums = square[::side].astype(np.uint16)
    for row in range(1, side):
        sums += square[row::side]
    weights = np.tile(np.array([77, 150, 29], dtype=np.float32) / np.float32(256 * side * side), side)
    grey = sums.reshape(h * w, side * 3).astype(np.float32) @ weights
    return grey.reshape(h, w).astype(np.uint8)


def _noise(grey: Pixels) -> float:
    """The usual difference between neighbours: near the standard deviation of noise, since most pixels are paper."""
    first, second = grey[:, :-1], grey[:, 1:]
    return float(_quantile(np.maximum(first, second) - np.minimum(first, second), 0.5))


def _tiles(grey: Pixels) -> tuple[Levels, Levels]:
    """(h, w) -> (N,) and (N,): the brightest and the darkest spot of each tile; a spot is the mean of nine pixels."""
    h, w = grey.shape
    spots = int(np.clip(min(h, w) // 24, 3, 5))  # in a row of a tile
    side = 3 * spots
    padded = np.pad(grey, ((0, -h % side), (0, -w % side)), mode="edge")
    h, w = padded.shape
    sums = padded.reshape(h // 3, 3, w).sum(axis=1, dtype=np.uint16).reshape(h // 3, w // 3, 3).sum(axis=2)
    rows = (sums / np.float32(9)).astype(np.float32).reshape(h // side, spots, w // 3)
    high = rows.max(axis=1).reshape(h // side, w // side, spots).max(axis=2)
    low = rows.min(axis=1).reshape(h // side, w // side, spots).min(axis=2)
    return high.ravel(), low.ravel()


def _is_photograph(grey: Pixels, noise: float, high: Levels, low: Levels) -> bool:
    """Whether neither the bright nor the dark side of the contours is of one tone, as paper is."""
    h, w = grey.shape
    if max(h, w) > _MOST_OBLONG * min(h, w):
        return False
    strong = high - low >= max(_CONTRAST, 0.5 * np.quantile(high - low, 0.98))
    high, low = high[strong], low[strong]
    if len(high) < _LEAST_TILES:
        return False
    contrast = float(np.mean(high - low))
    if contrast < _CLEAR * noise or min(high.std(), low.std()) < _UNEVEN * contrast:
        return False
    counts = np.bincount(grey.ravel(), minlength=256)
    near = (int(np.median(side)) + np.array([-1, 1]) * int(contrast / 3) for side in (high, low))
    paper = max(counts[max(0, start) : end + 1].sum() for start, end in near)
    return bool(paper < _PAPER * grey.size)


def _rows_of_text(grey: Pixels, noise: float) -> int:
    """(h, w) -> the number of rows of text one above another; 0 if a line can look like this.

    A row of text has many edges from left to right, and the space between two rows has none, nor has a ruling. In strips the
    rows of a turned page stay apart.
    """
    h, w = grey.shape
    left, right = grey[:, :-2], grey[:, 2:]
    steps = np.maximum(left, right) - np.minimum(left, right)
    edges = steps > max(12.0, 0.3 * _quantile(steps, 0.999), 6 * noise)
    count = max(2, min(_STRIPS, w // 48, w // h if w > 2 * h else _STRIPS))
    width = edges.shape[1] // count
    profile = np.count_nonzero(edges[:, : count * width].reshape(h, count, width), axis=2)
    rows = [_rows_of_strip(strip, at_least=max(_EDGES, _DENSITY * width)) for strip in profile.T]
    with_text = [number for number in rows if number is not None]
    several = [number for number in with_text if number >= _LEAST_ROWS]
    if len(several) < max(2, len(with_text) / 3):
        return 0
    return round(float(np.median(several)))


def _rows_of_strip(edges: NDArray[np.int64], at_least: float) -> int | None:
    """(h,) number of edges in each row of pixels -> the number of rows of text; None if there are too few edges."""
    top = int(np.sort(edges)[-max(1, len(edges) // 20)])
    if top < at_least:
        return None
    inside = edges >= max(at_least / 2, top / 4)
    runs = np.flatnonzero(np.diff(inside.view(np.int8), prepend=np.int8(0), append=np.int8(0))).reshape(-1, 2)
    runs = runs[(runs[:, 0] > 0) & (runs[:, 1] < len(edges))]  # remains of other lines touch the edge of the image
    heights = runs[:, 1] - runs[:, 0]
    tall = heights >= max(3, 0.4 * heights.max(initial=0))
    return sum(int(edges[start:end].max() >= at_least) for start, end in runs[tall])


def _quantile(levels: Pixels, share: float) -> int:
    """The grey level that this share of the pixels does not exceed."""
    total = np.cumsum(np.bincount(levels.ravel(), minlength=256))
    return int(np.searchsorted(total, share * total[-1]))
