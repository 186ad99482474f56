"""Crop the image of a short line of text to its ink, if its margins are wide or it is in a frame.

Shapes: H x W pixels of the image. A box is (left, top, right, bottom), right and bottom exclusive.

A margin is wide beside the ink from one height of the ink on, above and below it from 0.8 heights on. Ordinary crops stay
below: those of the pages segmenter have 0.3 and 0.12, and training lines of line readers up to 0.6. Ink lower than 16 pixels
counts as 16, since a few pixels more are no wide margin, and ink lower than 8 as 24: that is dots and dashes, whose height
says nothing about the size of the letters.
"""

from __future__ import annotations

import math

import numpy as np

from vedcore.vision.ink import Mask, Pixels, find_faint, least_ink, marks
from vedcore.vision.rulings import SOFT, Rulings, dilated

Box = tuple[int, int, int, int]

MARGIN = 3  # pixels of background kept around ink
_BESIDE, _ABOVE = 1.0, 0.8  # heights
_LEAST_HEIGHT, _LOW, _LOW_HEIGHT = 16, 8, 24  # pixels
_NARROWER = 0.8  # a crop is worth it if it is at least this much narrower, with the background that extends it
_HALO = 0.04  # heights around a ruling that are painted out with it


def crop_box(pixels: Pixels, ink: Mask, rulings: Rulings, extent: Box, shortest: float) -> Box | None:
    """The box to crop the image to; None if it stays as it is.

    extent: of the letters. shortest: heights; a narrower crop is extended to it.
    """
    height, width = ink.shape
    if not (rulings.mask.any() or _is_wide(extent, height, width, shortest)):
        return None
    extent = _with_faint_ink(pixels, ink, rulings, extent)
    if not (rulings.mask.any() or _is_wide(extent, height, width, shortest)):
        return None
    left, top, right, bottom = extent
    return max(left - MARGIN, 0), max(top - MARGIN, 0), min(right + MARGIN, width), min(bottom + MARGIN, height)


def paint_out(piece: Pixels, ink: Mask, rulings: Rulings, box: Box) -> None:
    """Fill the rulings in ``piece``, the pixels in the box, with background, except where they touch letters. In place."""
    height, width = ink.shape
    halo = max(SOFT, round(_HALO * (box[3] - box[1])))
    left, top, right, bottom = box
    around = (
        slice(max(top - halo, 0), min(bottom + halo, height)),
        slice(max(left - halo, 0), min(right + halo, width)),
    )
    strokes = rulings.across[around] | rulings.down[around]
    if not strokes.any():
        return
    letters = ink[around] & ~strokes
    painted = dilated(strokes, halo) & ~dilated(letters, halo)
    inner = painted[top - around[0].start :, left - around[1].start :][: bottom - top, : right - left]
    piece[inner] = background(piece, ink, box)


def background(piece: Pixels, ink: Mask, box: Box) -> Pixels:
    """() or (3,): the colour of the paper in ``piece``, the pixels in the box."""
    left, top, right, bottom = box
    paper = piece[~ink[top:bottom, left:right]]
    colour = np.median(paper if len(paper) else piece.reshape(-1, *piece.shape[2:]), axis=0)
    return np.asarray(colour, dtype=np.float64).astype(np.uint8)


def _is_wide(extent: Box, height: int, width: int, shortest: float) -> bool:
    left, top, right, bottom = extent
    size = max(bottom - top, _LEAST_HEIGHT) if bottom - top >= _LOW else _LOW_HEIGHT
    if max(top, height - bottom) > _ABOVE * size:
        return True
    cropped = max(right - left + 2 * MARGIN, math.ceil(shortest * height))
    return max(left, width - right) > _BESIDE * size and cropped <= _NARROWER * width


def _with_faint_ink(pixels: Pixels, ink: Mask, rulings: Rulings, extent: Box) -> Box:
    """The extent of the letters and of what is too faint for the threshold, such as grey text beside black."""
    faint = find_faint(pixels, ink)
    faint &= ~dilated(rulings.mask, max(SOFT, round(_HALO * (extent[3] - extent[1]))))
    speck = least_ink(ink & ~rulings.mask)
    rows, columns = (marks(faint, axis=axis, at_least=speck) for axis in (1, 0))
    if not len(rows) or not len(columns):
        return extent
    left, top, right, bottom = extent
    return (
        min(left, int(columns[0, 0])),
        min(top, int(rows[0, 0])),
        max(right, int(columns[-1, 1])),
        max(bottom, int(rows[-1, 1])),
    )
