"""Find the rulings of a line of text: the thin straight strokes that underline or frame it and belong to no letter.

Shapes: H x W pixels of the image; N runs, each a row (start, end) with the end exclusive.

In doubt a stroke is a letter. A horizontal ruling runs along nearly the whole line, above, below or through the letters and
not beside them. A vertical one is apart from the letters and ends at horizontal rulings or at the edges of the image.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vedcore.vision.ink import Mask, long_runs, marks

_LENGTH = 2.0  # heights: no stroke of a letter is as long without a break
_FRAMED_LENGTH = 1.2  # heights of a frame: longer than its letters are wide
_THICKNESS = 0.2  # heights
_SPAN = 0.8  # of the width of the ink: "nearly the whole line"
_STRAIGHT = 0.9  # of the rows of a vertical ruling have ink
SOFT = 2  # pixels beside a ruling that its soft edges darken
_REACH = 2  # pixels between the end of a stroke and the ruling that it meets
_CLEAR = 0.1  # heights between the letters and the edges of the image, where a stroke runs from edge to edge
_CONTENT = 0.25  # heights of a frame: what is lower is a part of a letter, such as the dot in a zero


class Rulings(NamedTuple):
    """The pixels of horizontal and of vertical rulings, each (H, W)."""

    across: Mask
    down: Mask

    @property
    def mask(self) -> Mask:
        """The pixels of all rulings."""
        return self.across | self.down


def find_rulings(ink: Mask) -> Rulings:
    """(H, W) -> the rulings in the ink of a line."""
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        return Rulings(ink, ink)
    height, width = int(rows[-1] + 1 - rows[0]), int(columns[-1] + 1 - columns[0])
    leaning = ink.copy()  # a stroke that leans continues one row higher or lower
    leaning[1:] |= ink[:-1]
    leaning[:-1] |= ink[1:]
    across = _across(ink, leaning, height, width, _FRAMED_LENGTH)
    down = _down(ink, across, height)
    if across.any() and not down.any():
        across = _across(ink, ink, height, width, _LENGTH)
    return Rulings(across, down)


def without_rulings(ink: Mask) -> Mask:
    """(H, W) -> (H, W): the ink without rulings."""
    return ink & ~find_rulings(ink).mask


def dilated(mask: Mask, by: int) -> Mask:
    """(H, W) -> (H, W): the pixels at most ``by`` rows and columns from a true one."""
    found = mask
    for axis in (0, 1):
        near = found.copy()
        for step in range(1, by + 1):
            for to, back in ((slice(step, None), slice(None, -step)), (slice(None, -step), slice(step, None))):
                target, source = (to, back) if axis == 0 else ((slice(None), to), (slice(None), back))
                near[target] |= found[source]
        found = near
    return found


def _across(ink: Mask, strokes: Mask, height: int, width: int, length: float) -> Mask:
    """The horizontal rulings: thin strokes along nearly the whole line and nearly all its letters."""
    found = ink & long_runs(strokes, at_least=max(2, length * height))
    if not found.any():
        return found
    found &= ~long_runs(found.T, at_least=_THICKNESS * height + 1).T
    covered = found.any(axis=0)
    letters = (ink & ~found).any(axis=0)
    along = np.count_nonzero(covered) >= _SPAN * width
    # A stroke between or beside the letters, as in a form, is a character.
    over = np.count_nonzero(covered & letters) >= _SPAN * np.count_nonzero(letters)
    return found if along and over else np.zeros_like(ink)


def _down(ink: Mask, across: Mask, height: int) -> Mask:
    """The vertical rulings of a frame whose horizontal ones are ``across``; none if it has no letters."""
    found = np.zeros_like(ink)
    rest = ink & ~across
    runs = marks(rest, axis=0, at_least=_STRAIGHT * height / 2)
    letters = rest.copy()
    for start, end in runs[runs[:, 1] - runs[:, 0] <= max(3, _THICKNESS * height)].tolist():
        rows = np.flatnonzero(rest[:, start:end].any(axis=1))
        top, bottom = int(rows[0]), int(rows[-1]) + 1
        straight = len(rows) >= _STRAIGHT * (bottom - top) and 2 * (bottom - top) >= height
        if straight and _ends(across, top, bottom, start, end):
            found[:, start:end] = rest[:, start:end]
            letters[:, start:end] = False
    rows = np.flatnonzero(letters.any(axis=1))
    if not len(rows) or rows[-1] + 1 - rows[0] < _CONTENT * height:
        return np.zeros_like(ink)
    return found if across.any() or _is_table(found, letters, height) else np.zeros_like(ink)


def _ends(across: Mask, top: int, bottom: int, start: int, end: int) -> bool:
    """Whether a vertical stroke ends on both sides at a horizontal ruling or at the edge of the image."""
    left, right = max(start - _REACH, 0), end + _REACH
    above = top <= 1 or bool(across[max(top - _REACH, 0) : top + 1, left:right].any())
    below = bottom >= len(across) - 1 or bool(across[bottom - 1 : bottom + _REACH, left:right].any())
    return above and below


def _is_table(strokes: Mask, letters: Mask, height: int) -> bool:
    """Whether strokes from edge to edge of the image separate cells.

    The letters keep clear of both edges. If the image is cropped to its ink on all sides, the strokes are the highest
    letters, such as ``|``.
    """
    rows = np.flatnonzero(letters.any(axis=1))
    clear = max(2.0, _CLEAR * height)
    if rows[0] < clear or len(letters) - 1 - rows[-1] < clear:
        return False
    columns = np.flatnonzero((letters | strokes).any(axis=0))
    return bool(columns[0] > 0 or columns[-1] < letters.shape[1] - 1)
