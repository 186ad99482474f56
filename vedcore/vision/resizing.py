"""Resize and crop images, with the rounding that transformers uses."""

from __future__ import annotations

import numpy as np
from PIL import Image

from vedcore.errors import ImageError, foreign
from vedcore.vision.limits import MAX_PIXELS


def resize(
    image: Image.Image, height: int, width: int, resample: int | None, reducing_gap: float | None = None
) -> Image.Image:
    """The image resized to ``height`` x ``width``; without a filter the resampling is bilinear.

    Raises ImageError for a result of no pixels or of too many.
    """
    height, width = checked_size(height, width)
    with foreign(ImageError, f"resizing to {height} x {width}"):
        filter_ = Image.Resampling(2 if resample is None else resample)
        return image.resize((width, height), filter_, reducing_gap=reducing_gap)


def center_crop(image: Image.Image, height: int, width: int) -> Image.Image:
    """The ``height`` x ``width`` pixels at the center. A side that is too short is padded with zeros.

    If the padding is odd, the extra pixel is on the left or at the top. Raises ImageError like ``resize``.
    """
    size = checked_size(height, width)
    pixels = np.asarray(image)
    result = np.zeros((*size, pixels.shape[2]), pixels.dtype)
    taken, placed = [], []
    for length, wanted in zip(pixels.shape, size, strict=False):
        start = (length - wanted) // 2
        taken.append(slice(max(start, 0), max(start, 0) + min(length, wanted)))
        placed.append(slice(max(-start, 0), max(-start, 0) + min(length, wanted)))
    result[placed[0], placed[1]] = pixels[taken[0], taken[1]]
    return Image.fromarray(result)


def size_with_shortest_edge(height: int, width: int, shortest: int, longest: int | None) -> tuple[int, int]:
    """(height, width) of the same aspect ratio whose shorter side is ``shortest``, or less if the other side would exceed
    ``longest``.

    Rounded as in transformers: the ratio uses the shorter side before rounding, unless that side does not change.
    """
    short, long = min(height, width), max(height, width)
    exact: float = shortest
    if longest is not None and long / short * shortest > longest:
        exact = longest * short / long
        shortest = round(exact)
    new_long = long if longest is not None and short == shortest else int(exact * long / short)
    return (shortest, new_long) if height <= width else (new_long, shortest)


def checked_size(height: int, width: int) -> tuple[int, int]:
    """The same size. Raises ImageError if it has no pixels, or more than a damaged file or an odd shape may ask for."""
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise ImageError(
            f"the result would be {height} x {width}, outside 1 to {MAX_PIXELS} pixels",
            expected=f"1 to {MAX_PIXELS} pixels",
            found=(height, width),
        )
    return height, width
