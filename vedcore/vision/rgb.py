"""Pillow images of every mode, and arrays of every layout, become 8-bit RGB images.

- RGB stays; 1, L, P, RGBX, CMYK, YCbCr and HSV are converted by Pillow.
- Alpha, also that of a palette or of one transparent colour, is composited on white.
- 16 bits per pixel (``I;16`` and its byte orders, uint16 arrays) keep their upper 8 bits.
- ``I`` keeps its values if they are 0 to 255; with a value above 255 it is 16-bit and keeps the upper 8 bits.
- ``F`` and arrays of floats must lie in [0, 1]; they are scaled by 255 and rounded.

A value outside these ranges is an error and never clipped.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vedcore.vision.origin import Origin

_LAYOUTS = "(H, W), (H, W, 1 | 3 | 4) or (1 | 3, H, W)"


def to_rgb(image: Image.Image, origin: Origin) -> Image.Image:
    """The image in mode RGB; an RGB image is returned as it is. Raises ImageError for values out of range."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        grey = _eight_bits(np.asarray(image), origin)
        transparent = image.info.get("transparency")
        if isinstance(transparent, int):
            grey = np.where(np.asarray(image) == transparent, np.uint8(255), grey)
        return Image.fromarray(grey).convert("RGB")
    if image.has_transparency_data:
        if image.mode == "La":
            image = image.convert("LA")
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def from_array(values: NDArray[Any], origin: Origin) -> Image.Image:
    """(H, W), (H, W, 1 | 3 | 4) or (1 | 3, H, W) -> an 8-bit image.

    Raises ImageError for another shape or type, and for a shape such as (3, H, 3) that has two readings.
    """
    shape = values.shape
    if 0 in shape:
        raise origin.error("expected at least one pixel", expected="at least one pixel", found=shape)
    if len(shape) == 3:
        channels_first, channels_last = shape[0] in (1, 3), shape[2] in (1, 3, 4)
        if channels_first and channels_last:
            raise origin.error(
                "may be (H, W, channels) or (channels, H, W); pass a PIL image instead", expected=_LAYOUTS, found=shape
            )
        if channels_first:
            values = np.moveaxis(values, 0, -1)
        if channels_first or channels_last:
            values = values[..., 0] if values.shape[2] == 1 else values
            pixels = _eight_bits(values, origin)
            return Image.fromarray(np.ascontiguousarray(pixels))
    elif len(shape) == 2:
        return Image.fromarray(np.ascontiguousarray(_eight_bits(values, origin)))
    raise origin.error(f"expected {_LAYOUTS}", expected=_LAYOUTS, found=shape)


def _eight_bits(values: NDArray[Any], origin: Origin) -> NDArray[np.uint8]:
    """The same shape in uint8, by the rules at the top of this file."""
    if values.dtype == np.uint8:
        return cast("NDArray[np.uint8]", values)
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype in (np.dtype("<u2"), np.dtype(">u2")):
        return (values >> 8).astype(np.uint8)
    is_float = np.issubdtype(values.dtype, np.floating)
    if not is_float and values.dtype != np.int32:
        types = "uint8, uint16 or floats in [0, 1]"
        raise origin.error(f"expected {types}, found {values.dtype}", expected=types, found=str(values.dtype))
    least, most = values.min(), values.max()
    if is_float:
        if not (least >= 0 and most <= 1):  # written so that NaN fails too
            raise _out_of_range("floats in [0, 1]", least, most, origin)
        return np.rint(values * np.float64(255)).astype(np.uint8)
    if least < 0 or most > 65535:
        raise _out_of_range("values from 0 to 65535", least, most, origin)
    return (values >> 8 if most > 255 else values).astype(np.uint8)


def _out_of_range(expected: str, least: Any, most: Any, origin: Origin) -> Exception:
    return origin.error(
        f"expected {expected}, found {least} to {most}", expected=expected, found=(least.item(), most.item())
    )
