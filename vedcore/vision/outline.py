"""A line of text cut out of the image of its page."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from vedcore.errors import ImageError


def cut_outline(image: Image.Image, outline: Sequence[tuple[float, float]]) -> bytes:
    """A PNG file of the box around ``outline``, points (x, y) in pixels of an RGB image. What is outside of the outline gets
    the colour of the background, the median inside.

    Raises ImageError if nothing of the outline is inside the image.
    """
    xs, ys = zip(*outline, strict=True)
    left, top = max(math.floor(min(xs)), 0), max(math.floor(min(ys)), 0)
    right, bottom = min(math.ceil(max(xs)), image.width), min(math.ceil(max(ys)), image.height)
    if right <= left or bottom <= top:
        raise ImageError(
            f"the outline from ({min(xs):.0f}, {min(ys):.0f}) to ({max(xs):.0f}, {max(ys):.0f}) has nothing inside the image "
            f"of {image.width} x {image.height} pixels",
            expected="a part of the image",
            found=(min(xs), min(ys), max(xs), max(ys)),
        )
    crop = image.crop((left, top, right, bottom))
    mask = Image.new("L", crop.size, 0)
    ImageDraw.Draw(mask).polygon([(x - left, y - top) for x, y in outline], fill=255, outline=255)
    pixels, inside = np.array(crop), np.array(mask, dtype=bool)
    if not inside.all() and inside.any():
        pixels[~inside] = np.median(pixels[inside], axis=0).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
