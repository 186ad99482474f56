"""Write a picture as the bytes of a file."""

from __future__ import annotations

import io

from PIL import Image

from vedcore.vision.loading import ImageSource, load_image


def as_jpeg(source: ImageSource, *, max_size: tuple[int, int], quality: int = 80) -> bytes:
    """The bytes of a JPEG file of ``source``, shrunk to fit ``max_size`` (width, height) if it is larger.

    Raises ImageError if ``source`` cannot be read.
    """
    image = load_image(source).copy()
    image.thumbnail(max_size, Image.Resampling.BILINEAR)
    if len({channel.tobytes() for channel in image.split()}) == 1:  # grey: the file needs only one channel
        image = image.getchannel(0)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality, optimize=True)
    return stream.getvalue()
