"""Image files: the bytes of a PNG, JPEG, WEBP, GIF, BMP or TIFF become a Pillow image whose pixels are not decoded yet.

``Image.open`` is not used: it warns, for the whole process, about sizes that vedcore checks itself. Each format checks
the size in the header before Pillow allocates memory for it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable

from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from vedcore.vision.origin import Origin
from vedcore.vision.tiff import open_frame
from vedcore.vision.tiff_directory import TiffFile

CheckSize = Callable[[tuple[int, int]], None]
"""Raises ImageError if (width, height) is too large."""


def open_bytes(data: bytes, origin: Origin, check_size: CheckSize) -> Image.Image:
    """The image in ``data``; of several frames the first. Raises ImageError for another format or a broken file."""
    name = format_of(data)
    if name is not None:
        with origin.wrap_errors(f"expected a {name} image, found a broken one; copy it or save it again"):
            return _FORMATS[name][1](data, origin, check_size)
    names = ", ".join(_FORMATS)
    remedy = "; Reader.read_document and vedcore read take PDF files" if data.startswith(b"%PDF-") else ""
    raise origin.error(
        f"expected {names}, found a file that begins with {data[:8]!r}{remedy}", expected=names, found=data[:8]
    )


def format_of(start: bytes) -> str | None:
    """The name of the format of a file that begins with ``start``, 16 bytes or more; None if it is no image."""
    return next((name for name, (signature, _) in _FORMATS.items() if signature.match(start)), None)


def webp_size(data: bytes) -> tuple[int, int]:
    """(width, height) of the canvas of a WebP file, or of its only image."""

    def number(start: int, stop: int) -> int:
        return int.from_bytes(data[start:stop], "little")

    if data[12:16] == b"VP8X":
        return number(24, 27) + 1, number(27, 30) + 1
    if data[12:16] == b"VP8L":  # 14 bits for each side, after a constant byte
        return (number(21, 25) & 0x3FFF) + 1, (number(21, 25) >> 14 & 0x3FFF) + 1
    return number(26, 28) & 0x3FFF, number(28, 30) & 0x3FFF  # the upper two bits only give a scale


def _gif_size(data: bytes) -> tuple[int, int]:
    """(width, height) that Pillow gives the first frame of a GIF: the screen, or more if the frame is larger."""

    def short(at: int) -> int:
        return int.from_bytes(data[at : at + 2], "little")

    width, height, at = short(6), short(8), 13
    if data[10] & 128:
        at += 3 << (data[10] & 7) + 1
    while data[at] not in b",;":
        at += 1
        if data[at - 1] == 0x21:  # an extension: a label, then blocks that each begin with their length
            at += 1
            while data[at]:
                at += 1 + data[at]
            at += 1
    if data[at : at + 1] == b",":
        width = max(width, short(at + 1) + short(at + 5))
        height = max(height, short(at + 3) + short(at + 7))
    return width, height


def _without_animation(data: bytes) -> bytes:
    """A PNG file without its acTL chunks, so that Pillow does not warn about a wrong number of frames."""
    parts, start = [data[:8]], 8
    while start < len(data):
        stop = start + 12 + int.from_bytes(data[start : start + 4], "big")
        kind = data[start + 4 : start + 8]
        if kind == b"IDAT":
            break
        if kind != b"acTL":
            parts.append(data[start:stop])
        start = stop
    return b"".join([*parts, data[start:]])


class _JpegFile(JpegImageFile):
    def _read_dpi_from_exif(self) -> None:
        """Does nothing: Pillow parses all of EXIF here for a resolution, and warns if the block is broken."""


def _open_png(data: bytes, origin: Origin, check_size: CheckSize) -> Image.Image:
    return PngImageFile(io.BytesIO(_without_animation(data)))


def _open_jpeg(data: bytes, origin: Origin, check_size: CheckSize) -> Image.Image:
    return _JpegFile(io.BytesIO(data))


def _open_webp(data: bytes, origin: Origin, check_size: CheckSize) -> Image.Image:
    # The decoder allocates the whole canvas when it is created, before Pillow knows the size.
    if len(data) >= 25:  # no smaller file holds a size
        check_size(webp_size(data))
    return WebPImageFile(io.BytesIO(data))


def _open_gif(data: bytes, origin: Origin, check_size: CheckSize) -> Image.Image:
    check_size(_gif_size(data))
    return GifImageFile(io.BytesIO(data))


def _open_bmp(data: bytes, origin: Origin, check_size: CheckSize) -> Image.Image:
    return BmpImageFile(io.BytesIO(data))


def _open_tiff(data: bytes, origin: Origin, check_size: CheckSize) -> Image.Image:
    tiff = TiffFile(io.BytesIO(data), origin)
    return open_frame(tiff, tiff.frame_positions()[0], check_size)


_FORMATS: dict[str, tuple[re.Pattern[bytes], Callable[[bytes, Origin, CheckSize], Image.Image]]] = {
    "PNG": (re.compile(rb"\x89PNG\r\n\x1a\n"), _open_png),
    "JPEG": (re.compile(rb"\xff\xd8\xff"), _open_jpeg),
    "WEBP": (re.compile(rb"RIFF....WEBPVP8[ LX]", re.DOTALL), _open_webp),
    "GIF": (re.compile(rb"GIF8[79]a"), _open_gif),
    "BMP": (re.compile(rb"BM"), _open_bmp),
    "TIFF": (re.compile(rb"II[*+]\0|MM\0[*+]"), _open_tiff),
}
