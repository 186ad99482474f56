"""Ink: the pixels that differ from the paper around them, whether they are darker or lighter.

Shapes: H x W pixels of one level of a pyramid. The paper at a pixel is the median of its neighbourhood, so a dark panel of a
screenshot and a shadow over a receipt are paper too, and the sign of the difference says which text is light on dark.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""(H, W) grey levels, or a mask of 0 and 1."""

WINDOW = 33  # pixels: letters of a line fill less than half of it, and it is smaller than a button
TALLEST = 20  # pixels: a taller letter has strokes that fill the window; it belongs to a coarser level
_SHARE = 0.42  # of the contrast nearby: ink has at least as much
_FAINTEST = 14  # grey levels: less contrast than this is paper
_NOISE = 4.5  # standard deviations of the paper's noise


@dataclass(frozen=True, slots=True)
class Ink:
    """(H, W) each. dark, light: 1 where ink is darker, or lighter, than its paper.

    darker, lighter: by how many grey levels a pixel is darker, or lighter, than the paper. contrast: the larger of the two,
    and of those at finer levels. paper: (h, w), the grey level of the paper, with a third of the resolution.
    """

    dark: Pixels
    light: Pixels
    darker: Pixels
    lighter: Pixels
    contrast: Pixels
    paper: Pixels


def find_paper(grey: Pixels) -> Pixels:
    """(H, W) -> (h, w): the grey level of the paper, at a third of the resolution."""
    # Every third pixel is enough for a median, and keeps the grey levels that a mean would mix.
    sample = np.ascontiguousarray(grey[1::3, 1::3] if min(grey.shape) > 1 else grey[::3, ::3])
    return np.asarray(cv2.medianBlur(sample, WINDOW // 3), dtype=np.uint8)


def find_ink(grey: Pixels, finer: Pixels | None = None) -> Ink:
    """(H, W) -> its ink. finer: the contrast of the next finer level, (2H, 2W) or so.

    Small text that is blurred at this level has less contrast than at the finer one, and so is no ink here.
    """
    coarse = find_paper(grey)
    paper = cv2.resize(coarse, grey.shape[::-1], interpolation=cv2.INTER_LINEAR)
    darker = np.asarray(cv2.subtract(paper, grey), dtype=np.uint8)
    lighter = np.asarray(cv2.subtract(grey, paper), dtype=np.uint8)
    contrast = np.maximum(darker, lighter)
    if finer is not None:
        pooled = cv2.dilate(finer, np.ones((2, 2), np.uint8), anchor=(0, 0))[::2, ::2]
        contrast = np.maximum(contrast, pooled[: grey.shape[0], : grey.shape[1]])
    limit = _limit(contrast)
    return Ink((darker > limit).view(np.uint8), (lighter > limit).view(np.uint8), darker, lighter, contrast, coarse)


def _limit(contrast: Pixels) -> Pixels:
    """(H, W) -> (H, W): the contrast above which a pixel is ink."""
    height, width = contrast.shape
    noise = 1.4826 * float(np.median(contrast[::3, ::3]))
    # A mean of 3 x 3 keeps single stray pixels from hiding faint text.
    strongest = cv2.blur(contrast, (3, 3))[::2, ::2]
    strongest = cv2.dilate(strongest, np.ones((WINDOW, WINDOW), np.uint8))
    strongest = cv2.resize(strongest, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.maximum(cv2.convertScaleAbs(strongest, alpha=_SHARE), min(255, round(max(_FAINTEST, _NOISE * noise))))
