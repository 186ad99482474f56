"""Pictures of pages as PDF stores them: a JPEG file as it is, other images without loss."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vedcore.vision import Origin
from vedcore.vision.jpeg import jpeg_of
from vedcore.vision.resolution import resolution

if TYPE_CHECKING:
    from PIL import Image

DEFAULT_DPI = 150.0
"""Of an image that gives none: a page of a phone's photograph or of a screenshot is about as large as a sheet of paper."""
_LARGEST = 14_400.0
"""Points: the longest side of a page in the standard."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An image of a PDF. entries: those of its dictionary. size: (width, height) in pixels, upright.

    orientation: how the stored pixels are turned to be upright, 1 to 8 as in EXIF. dpi: (horizontal, vertical), upright.
    """

    entries: bytes
    data: bytes
    size: tuple[int, int]
    dpi: tuple[float, float] | None
    orientation: int = 1

    @property
    def page_size(self) -> tuple[float, float]:
        """(width, height) in points of the page that the picture covers. A page beyond the standard is made smaller."""
        across, down = self.dpi or (DEFAULT_DPI, DEFAULT_DPI)
        width, height = self.size[0] * 72 / across, self.size[1] * 72 / down
        scale = min(1.0, _LARGEST / max(width, height))
        return width * scale, height * scale

    def matrix(self, width: float, height: float) -> tuple[float, float, float, float, float, float]:
        """The matrix that draws the upright picture on ``width`` x ``height`` points."""

        def place(x: float, y: float) -> tuple[float, float]:
            """The place of a point of the stored image, in shares of its width from the left and of its height from below."""
            right, down = _UPRIGHT[self.orientation](x, 1 - y)
            return width * right, height * (1 - down)

        corner, right, top = place(0, 0), place(1, 0), place(0, 1)
        return (
            *(right[0] - corner[0], right[1] - corner[1]),
            *(top[0] - corner[0], top[1] - corner[1]),
            *corner,
        )


_UPRIGHT = {
    1: lambda x, y: (x, y),
    2: lambda x, y: (1 - x, y),
    3: lambda x, y: (1 - x, 1 - y),
    4: lambda x, y: (x, 1 - y),
    5: lambda x, y: (y, x),
    6: lambda x, y: (1 - y, x),
    7: lambda x, y: (1 - y, 1 - x),
    8: lambda x, y: (y, 1 - x),
}
"""Where a point of the stored image is in the upright one, both in shares from the upper left corner."""


def jpeg_picture(data: bytes, origin: Origin) -> Picture | None:
    """The picture of a JPEG file in grey or in colour, its data unchanged; None for any other file.

    Raises ImageError for a broken JPEG file.
    """
    found = jpeg_of(data, origin)
    if found is None:
        return None
    sideways = found.orientation >= 5
    size = found.size[::-1] if sideways else found.size
    dpi = found.dpi[::-1] if found.dpi and sideways else found.dpi
    space = b"DeviceGray" if found.grey else b"DeviceRGB"
    return Picture(_entries(found.size, space, 8) + b"/Filter/DCTDecode", data, size, dpi, found.orientation)


def image_picture(image: Image.Image) -> Picture:
    """The picture of an RGB image, without loss: in black and white or in grey if it has no other colours."""
    pixels = np.asarray(image)
    size, dpi = image.size, resolution(image.info)
    grey = pixels[..., 0]
    if not all(np.array_equal(grey, pixels[..., channel]) for channel in (1, 2)):
        return _packed(pixels, size, b"DeviceRGB", dpi)
    if ((grey == 0) | (grey == 255)).all():
        data = zlib.compress(np.packbits(grey > 0, axis=1).tobytes())
        return Picture(_entries(size, b"DeviceGray", 1) + b"/Filter/FlateDecode", data, size, dpi)
    return _packed(grey[..., None], size, b"DeviceGray", dpi)


def _packed(
    pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
    size: tuple[int, int],
    space: bytes,
    dpi: tuple[float, float] | None,
) -> Picture:
    """The picture of h x w x channels values. Each is stored as the difference from its left neighbour, which packs better."""
    steps = pixels.copy()
    steps[:, 1:] -= pixels[:, :-1]
    how = b"/Filter/FlateDecode/DecodeParms<</Predictor 2/Colors %d/Columns %d>>" % (pixels.shape[2], size[0])
    return Picture(_entries(size, space, 8) + how, zlib.compress(steps.tobytes()), size, dpi)


def _entries(size: tuple[int, int], space: bytes, bits: int) -> bytes:
    head = b"/Type/XObject/Subtype/Image/Width %d/Height %d/ColorSpace/%s/BitsPerComponent %d"
    return head % (*size, space, bits)
