"""How large an image may be: a few bytes of a damaged file must not allocate all memory."""

from __future__ import annotations

from vedcore.vision.origin import Origin

MAX_PIXELS = 64_000_000
MAX_BYTES = 32 * 2**20


def check_size(size: tuple[int, int], origin: Origin, max_pixels: int) -> None:
    """Raises ImageError unless ``size`` (width, height) has 1 to ``max_pixels`` pixels."""
    width, height = size
    if width < 1 or height < 1:
        raise origin.error(
            f"expected at least one pixel, found {width} x {height}", expected="at least one pixel", found=size
        )
    if width * height > max_pixels:
        raise origin.error(
            f"{width} x {height} pixels, more than the {max_pixels} allowed; make the image smaller or cut it into parts, "
            f"e.g. with: magick IN -resize {max_pixels}@ OUT",
            expected=max_pixels,
            found=width * height,
        )


def check_bytes(count: int, origin: Origin, max_bytes: int) -> None:
    """Raises ImageError if a file of ``count`` bytes is larger than ``max_bytes``."""
    if count > max_bytes:
        raise origin.error(
            f"{count} bytes, more than the {max_bytes} allowed; compress the file, or split it by its pages",
            expected=max_bytes,
            found=count,
        )
