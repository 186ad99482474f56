"""Images as PNG files, for reports."""

from __future__ import annotations

import io

from PIL import Image

from vedcore.vision.loading import ImageSource, load_image


def as_png(source: ImageSource, *, max_size: tuple[int, int] = (600, 120)) -> bytes:
    """The bytes of a PNG file of ``source``, shrunk to fit ``max_size`` (width, height) if it is larger.

    Raises ImageError if ``source`` cannot be read.
    """
    image = load_image(source).copy()
    image.thumbnail(max_size, Image.Resampling.BILINEAR)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
