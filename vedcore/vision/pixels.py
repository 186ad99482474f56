"""Raw pixels, as another program gives them, become an image."""

from __future__ import annotations

from PIL import Image


def from_pixels(data: bytes, size: tuple[int, int], stride: int, dpi: float) -> Image.Image:
    """The RGB image of ``size`` (width, height) whose rows of red, green and blue bytes begin ``stride`` bytes apart.

    Raises ValueError if ``data`` has too few bytes.
    """
    image = Image.frombytes("RGB", size, data, "raw", "RGB", stride)
    image.info["dpi"] = (dpi, dpi)
    return image
