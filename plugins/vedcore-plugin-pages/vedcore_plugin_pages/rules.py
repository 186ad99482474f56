"""Rules: the thin straight strokes of tables, boxes and underlines, which are no text and often touch it."""

from __future__ import annotations

import cv2
import numpy as np

from vedcore_plugin_pages.ink import TALLEST, Pixels

SHORTEST = 3 * TALLEST  # pixels: no stroke of a letter of this level is as long
_THICKEST = 7  # pixels: a thicker bar is a rule at a coarser level


def find_rules(mask: Pixels) -> Pixels:
    """(H, W) of 0 and 1 -> (H, W): 1 at the pixels of rules. Strokes of letters that cross a rule stay ink."""
    across = _opened(mask, SHORTEST, 1)
    down = _opened(mask, 1, SHORTEST)
    if not across.any() and not down.any():
        return across
    # A pixel of a letter on the rule is in a run across the rule that is longer than the rule is thick.
    thick = _opened(mask, 1, _THICKEST + 1)
    wide = _opened(mask, _THICKEST + 1, 1)
    rules = (across & (1 - thick | down)) | (down & (1 - wide | across))
    return np.asarray(rules, dtype=np.uint8)


def _opened(mask: Pixels, width: int, height: int) -> Pixels:
    """(H, W) -> (H, W): the pixels of horizontal or vertical runs of at least this length."""
    if mask.shape[1] < width or mask.shape[0] < height:
        return np.zeros_like(mask)
    kernel = np.ones((height, width), np.uint8)
    return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, kernel, borderValue=0), dtype=np.uint8)
