"""Images as files to look at."""

from __future__ import annotations

import io

from PIL import Image

from vedcore.vision.images import ImageSource, load_image


def as_png(source: ImageSource, *, most: tuple[int, int] = (600, 120)) -> bytes:
    """The bytes of a PNG of ``source``, made smaller where it is wider or higher than ``most`` (width, height)."""
    image = load_image(source).copy()
    image.thumbnail(most, Image.Resampling.BILINEAR)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
