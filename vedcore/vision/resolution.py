"""The resolution of an image in dots per inch, as its file gives it."""

from __future__ import annotations

import math
from typing import Any

from PIL import Image

_LEAST, _MOST = 2, 10_000
"""A file that says 0 or 1 has no resolution."""


def image_dpi(image: Image.Image) -> float | None:
    """The horizontal resolution of an image that ``load_image`` returned; None if the file gives none, or nonsense."""
    both = resolution(image.info)
    return both and both[0]


def resolution(info: dict[Any, Any]) -> tuple[float, float] | None:
    """(horizontal, vertical) of an image with this ``info``; None if one of them is missing or nonsense."""
    match info.get("dpi"):
        case (across, down):
            pair = _number(across), _number(down)
            return pair if all(_LEAST <= value <= _MOST for value in pair) else None
    return None


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, ArithmeticError):
        return math.nan
