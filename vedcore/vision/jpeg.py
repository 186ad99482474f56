"""What a JPEG file says about itself, for programs that pass it on without decoding it."""

from __future__ import annotations

from dataclasses import dataclass

from vedcore.vision.formats import format_of, open_bytes
from vedcore.vision.limits import MAX_PIXELS, check_size
from vedcore.vision.orientation import orientation
from vedcore.vision.origin import Origin
from vedcore.vision.resolution import resolution


@dataclass(frozen=True, slots=True)
class Jpeg:
    """size: (width, height) of the pixels in the file. orientation: 1 to 8, as EXIF defines how they are turned to be upright.
    dpi: (horizontal, vertical) of these pixels, if the file gives it.
    """

    size: tuple[int, int]
    grey: bool
    orientation: int
    dpi: tuple[float, float] | None


def jpeg_of(data: bytes, origin: Origin) -> Jpeg | None:
    """The description of a JPEG file in grey or in colour; None for any other file. Raises ImageError for a broken one."""
    if format_of(data) != "JPEG":
        return None
    image = open_bytes(data, origin, lambda size: check_size(size, origin, MAX_PIXELS))
    check_size(image.size, origin, MAX_PIXELS)
    if image.mode not in ("L", "RGB"):
        return None
    return Jpeg(image.size, image.mode == "L", orientation(image.info), resolution(image.info))
