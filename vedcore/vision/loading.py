"""Open an image: a path, the bytes of a file, a PIL image, an array or a tensor becomes one RGB image.

The orientation in EXIF (or XMP) is applied, also to a PIL image. Calling ``exif_transpose`` before gives the same
result, since it removes the tag. See ``rgb`` for the conversion of modes and arrays.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from vedcore.errors import ImageError
from vedcore.vision.files import origin_of, read_file
from vedcore.vision.formats import open_bytes
from vedcore.vision.limits import MAX_BYTES, MAX_PIXELS, check_bytes, check_size
from vedcore.vision.orientation import SIDEWAYS, upright_turn
from vedcore.vision.origin import Origin
from vedcore.vision.resolution import resolution
from vedcore.vision.rgb import from_array, to_rgb

ImageSource = str | os.PathLike[str] | bytes | Image.Image | NDArray[Any] | torch.Tensor
"""What can be read as an image."""


def load_image(source: ImageSource, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES) -> Image.Image:
    """The H x W image of ``source`` in mode RGB: a path, the bytes of a file, a PIL image, an array or a tensor.

    Files are PNG, JPEG, WEBP, GIF, BMP or TIFF with at most ``max_bytes``; of several frames the first is read. An image of
    more than ``max_pixels`` is refused before it is decoded. Arrays are (H, W), (H, W, 1 | 3 | 4) or (1 | 3, H, W).
    An image that is already RGB may be returned as it is. ``image_dpi`` gives the resolution of the result.

    Raises ImageError; the message names the source, what was expected and what was found, on one line.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _decode(bytes(source), origin_of(source), max_pixels, max_bytes)
    if isinstance(source, (str, os.PathLike)):
        origin = origin_of(source)
        return _decode(read_file(source, origin, max_bytes), origin, max_pixels, max_bytes)
    if isinstance(source, Image.Image):
        origin = Origin(f"PIL image {source.width} x {source.height} of mode {source.mode}")
        return upright_rgb(source, origin, max_pixels)
    if isinstance(source, torch.Tensor):
        source = source.detach().cpu()
        source = (source.float() if source.is_floating_point() else source).numpy()
    if isinstance(source, np.ndarray):
        origin = Origin(f"array of shape {source.shape} and type {source.dtype}")
        return upright_rgb(from_array(source, origin), origin, max_pixels)
    expected, found = "a path, bytes, a PIL image, an array or a tensor", type(source).__name__
    raise ImageError(f"expected {expected} for an image, found {found}", expected=expected, found=found)


def _decode(data: bytes, origin: Origin, max_pixels: int, max_bytes: int) -> Image.Image:
    check_bytes(len(data), origin, max_bytes)
    if not data:
        raise origin.error("expected an image, found an empty file", expected="an image", found=b"")
    image = open_bytes(data, origin, lambda size: check_size(size, origin, max_pixels))
    return upright_rgb(image, origin, max_pixels)


def upright_rgb(image: Image.Image, origin: Origin, max_pixels: int) -> Image.Image:
    """The upright RGB image of an image that may not be decoded yet. Raises ImageError like ``load_image``."""
    check_size(image.size, origin, max_pixels)
    with origin.wrap_errors("expected an image, found a broken one; copy it or save it again"):
        image.load()  # before the orientation is read: a PNG may store it after its pixels
    turn, dpi = upright_turn(image.info), resolution(image.info)
    with origin.wrap_errors(f"cannot be made RGB from mode {image.mode}"):
        result = to_rgb(image, origin)
        if turn is not None:
            result = result.transpose(turn)
            result.info = {}  # otherwise loading the result again would turn it again
            dpi = dpi[::-1] if dpi and turn in SIDEWAYS else dpi
        if dpi is not None and result is not image:
            result.info["dpi"] = dpi
        return result
