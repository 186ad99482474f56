"""A file, bytes, a PIL image, an array or a tensor becomes one RGB image, or an ImageError that says why not.

What the modes of Pillow become (H x W pixels):

- RGB stays; 1, L, P, RGBX, CMYK, YCbCr, HSV are converted by Pillow.
- Alpha, also that of a palette or of one transparent colour, is composited on white.
- 16 bits a pixel (``I;16`` and its byte orders, uint16 arrays) keep their upper 8 bits.
- ``I`` from 0 to 255 is taken as it is; with a value above 255 it is 16-bit and keeps the upper 8 bits.
- ``F`` and arrays of floats must lie in [0, 1] and are scaled by 255 and rounded.

A value outside these ranges is an error, never clipped. The orientation that EXIF (or XMP) asks for is applied,
to a PIL image too: ``exif_transpose`` before is the same, since it takes the tag away.
"""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from vedcore.errors import ImageError, foreign

ImageSource = str | os.PathLike[str] | bytes | Image.Image | NDArray[Any] | torch.Tensor
"""What is read as an image."""

MAX_PIXELS = 64_000_000
MAX_BYTES = 32 * 2**20


def load_image(source: ImageSource, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES) -> Image.Image:
    """The H x W image of ``source`` in mode RGB: a path, the bytes of a file, a PIL image, an array or a tensor.

    Files are PNG, JPEG, WEBP, GIF or BMP, of at most ``max_bytes``; of several frames the first is taken. A size
    beyond ``max_pixels`` is refused from the header. Arrays are (H, W), (H, W, 1 | 3 | 4) or (1 | 3, H, W).
    An image that is RGB already may be returned as it is.

    Raises ImageError: the source, what was expected and what was found, on one line.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _decode(bytes(source), f"image of {len(source)} bytes", max_pixels, max_bytes)
    if isinstance(source, (str, os.PathLike)):
        name = _printable(os.fspath(source))
        return _decode(_read(source, name, max_bytes), name, max_pixels, max_bytes)
    if isinstance(source, Image.Image):
        name = f"PIL image {source.width} x {source.height} of mode {source.mode}"
        return _upright_rgb(source, name, max_pixels)
    if isinstance(source, torch.Tensor):
        source = source.detach().cpu()
        source = (source.float() if source.is_floating_point() else source).numpy()
    if isinstance(source, np.ndarray):
        name = f"array of shape {source.shape} and type {source.dtype}"
        return _upright_rgb(_from_array(source, name), name, max_pixels)
    raise ImageError(
        f"expected a path, bytes, a PIL image, an array or a tensor for an image, found {type(source).__name__}"
    )


# Files.


def _printable(name: str | bytes) -> str:
    text = os.fsdecode(name)
    return text if text.isprintable() and text else repr(text)


def _read(source: str | os.PathLike[str], name: str, max_bytes: int) -> bytes:
    # Not to block: opening a FIFO otherwise waits for a writer that may never come.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        with open(source, "rb", opener=lambda path, _: os.open(path, flags)) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise ImageError(f"{name}: not a regular file")
            if found.st_size > max_bytes:
                raise ImageError(f"{name}: {found.st_size} bytes, more than the {max_bytes} allowed for an image")
            return file.read(max_bytes + 1)
    except FileNotFoundError:
        raise ImageError(f"{name}: no such file") from None
    except IsADirectoryError:
        raise ImageError(f"{name}: expected an image file, found a folder") from None
    except (OSError, ValueError) as cause:
        reason = getattr(cause, "strerror", None) or cause
        raise ImageError(f"{name}: cannot be read ({reason})") from cause


class _Jpeg(JpegImageFile):
    def _read_dpi_from_exif(self) -> None:
        """Nothing: Pillow parses all of EXIF here for a resolution, and warns where the block is broken."""


def _without_animation(data: bytes) -> bytes:
    """A PNG without its acTL chunks: an ordinary one, of which Pillow does not warn that its frames are wrong."""
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


def _gif_size(data: bytes) -> tuple[int, int]:
    """(width, height) that Pillow will give the first frame of a GIF: the screen, or more where the frame is larger."""

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


def _gif(data: bytes, check: Callable[[tuple[int, int]], None]) -> Image.Image:
    check(_gif_size(data))
    return GifImageFile(io.BytesIO(data))


def _webp_size(data: bytes) -> tuple[int, int]:
    """(width, height) of a WebP's canvas, or of its one image."""

    def number(start: int, stop: int) -> int:
        return int.from_bytes(data[start:stop], "little")

    if data[12:16] == b"VP8X":
        return number(24, 27) + 1, number(27, 30) + 1
    if data[12:16] == b"VP8L":  # 14 bits a side behind a byte that is always the same
        return (number(21, 25) & 0x3FFF) + 1, (number(21, 25) >> 14 & 0x3FFF) + 1
    return number(26, 28) & 0x3FFF, number(28, 30) & 0x3FFF  # the other two bits say how to scale it


def _webp(data: bytes, check: Callable[[tuple[int, int]], None]) -> Image.Image:
    # The decoder takes memory for the whole canvas when it is made, before Pillow can say the size.
    if len(data) >= 25:  # no smaller file holds a size
        check(_webp_size(data))
    return WebPImageFile(io.BytesIO(data))


# Not Image.open: it warns, for all of the process, of a size that is ours to judge.
_OPENERS: dict[str, tuple[re.Pattern[bytes], Callable[[bytes, Callable[[tuple[int, int]], None]], Image.Image]]] = {
    "PNG": (
        re.compile(rb"\x89PNG\r\n\x1a\n"),
        lambda data, _: PngImageFile(io.BytesIO(_without_animation(data))),
    ),
    "JPEG": (re.compile(rb"\xff\xd8\xff"), lambda data, _: _Jpeg(io.BytesIO(data))),
    "WEBP": (re.compile(rb"RIFF....WEBPVP8[ LX]", re.DOTALL), _webp),
    "GIF": (re.compile(rb"GIF8[79]a"), _gif),
    "BMP": (re.compile(rb"BM"), lambda data, _: BmpImageFile(io.BytesIO(data))),
}


def _decode(data: bytes, name: str, max_pixels: int, max_bytes: int) -> Image.Image:
    if len(data) > max_bytes:
        raise ImageError(f"{name}: {len(data)} bytes, more than the {max_bytes} allowed for an image")
    if not data:
        raise ImageError(f"{name}: expected an image, found an empty file")
    for kind, (magic, opener) in _OPENERS.items():
        if magic.match(data):
            with foreign(ImageError, f"{name}: expected a {kind} image, found a broken one"):
                image = opener(data, lambda size: _check_size(size, name, max_pixels))
            return _upright_rgb(image, name, max_pixels)
    raise ImageError(f"{name}: expected {', '.join(_OPENERS)}, found a file that begins with {data[:8]!r}")


def _check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(f"{name}: expected at least one pixel, found {width} x {height}")
    if width * height > max_pixels:
        raise ImageError(f"{name}: {width} x {height} pixels, more than the {max_pixels} allowed")


def _upright_rgb(image: Image.Image, name: str, max_pixels: int) -> Image.Image:
    _check_size(image.size, name, max_pixels)
    with foreign(ImageError, f"{name}: expected an image, found a broken one"):
        image.load()  # before the orientation: a PNG may tell it after its pixels
    method = _TURNS.get(_orientation(image.info))
    with foreign(ImageError, f"{name}: cannot be made RGB from mode {image.mode}"):
        image = _rgb(image, name)
        if method is not None:
            image = image.transpose(method)
            image.info = {}  # or whoever loads it again would turn it again
        return image


# Orientation. Pillow's own reader of EXIF warns of every tag that is broken; one tag is all that is needed.

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_XMP = re.compile(rb"tiff:Orientation(?:=\"|>)([1-8])")


def _orientation(info: dict[Any, Any]) -> int:
    """1 to 8; 1 where nothing, or nothing that can be understood, is said."""
    block = info.get("exif")
    if block is None and isinstance(info.get("Raw profile type exif"), str):
        digits = "".join(info["Raw profile type exif"].split("\n")[3:])
        block = bytes.fromhex(digits) if re.fullmatch(r"(?:[0-9a-fA-F]{2})+", digits) else None
    found = _exif_orientation(block) if isinstance(block, bytes) else None
    if found is None:
        notes = info.get("XML:com.adobe.xmp", info.get("xmp"))
        notes = notes.encode("utf-8", "replace") if isinstance(notes, str) else notes
        match = _XMP.search(notes) if isinstance(notes, bytes) else None
        found = int(match[1]) if match else 1
    return found


def _exif_orientation(block: bytes) -> int | None:
    block = block.removeprefix(b"Exif\0\0")
    order: Any = {b"II": "little", b"MM": "big"}.get(block[:2])
    if order is None:
        return None

    def read(at: int, size: int) -> int:
        return int.from_bytes(block[at : at + size], order)

    start = read(4, 4)
    for entry in range(start + 2, min(start + 2 + 12 * read(start, 2), len(block) - 11), 12):
        if read(entry, 2) == 0x0112:
            size = {1: 1, 3: 2, 4: 4}.get(read(entry + 2, 2))  # BYTE, SHORT, LONG
            return read(entry + 8, size) if size and read(entry + 4, 4) == 1 else None
    return None


# Modes.


def _rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        grey = _eight_bits(np.asarray(image), name)
        clear = image.info.get("transparency")
        if isinstance(clear, int):
            grey = np.where(np.asarray(image) == clear, np.uint8(255), grey)
        return Image.fromarray(grey).convert("RGB")
    if image.has_transparency_data:
        if image.mode == "La":
            image = image.convert("LA")
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bits(values: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """The same shape in uint8, by the rules at the top of this file."""
    if values.dtype == np.uint8:
        return cast("NDArray[np.uint8]", values)
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype in (np.dtype("<u2"), np.dtype(">u2")):
        return (values >> 8).astype(np.uint8)
    is_float = np.issubdtype(values.dtype, np.floating)
    if not is_float and values.dtype != np.int32:
        raise ImageError(f"{name}: expected uint8, uint16 or floats in [0, 1], found {values.dtype}")
    least, most = values.min(), values.max()
    if is_float:
        if not (least >= 0 and most <= 1):  # so that NaN fails too
            raise ImageError(f"{name}: expected floats in [0, 1], found {least} to {most}")
        return np.rint(values * np.float64(255)).astype(np.uint8)
    if least < 0 or most > 65535:
        raise ImageError(f"{name}: expected values from 0 to 65535, found {least} to {most}")
    return (values >> 8 if most > 255 else values).astype(np.uint8)


def _from_array(values: NDArray[Any], name: str) -> Image.Image:
    shape = values.shape
    if 0 in shape:
        raise ImageError(f"{name}: expected at least one pixel")
    if len(shape) == 3:
        first, last = shape[0] in (1, 3), shape[2] in (1, 3, 4)
        if first and last:
            raise ImageError(f"{name}: may be (H, W, channels) or (channels, H, W); give a PIL image to say which")
        if first:
            values = np.moveaxis(values, 0, -1)
        if first or last:
            values = values[..., 0] if values.shape[2] == 1 else values
            pixels = _eight_bits(values, name)
            return Image.fromarray(np.ascontiguousarray(pixels))
    elif len(shape) == 2:
        return Image.fromarray(np.ascontiguousarray(_eight_bits(values, name)))
    raise ImageError(f"{name}: expected (H, W), (H, W, 1 | 3 | 4) or (1 | 3, H, W)")
