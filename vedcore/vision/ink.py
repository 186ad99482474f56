"""Find the ink in the image of a line of text.

Shapes: H x W pixels of the image; N runs, each a row (start, end) with the end exclusive.

Otsu's threshold separates ink from background. The background is the larger part, so light text on a dark ground is ink
too. Specks are not ink.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Counts = NDArray[np.int64]
Runs = NDArray[np.int64]

_CONTRAST = 16  # grey levels between ink and background; with less the image is blank paper
_FAINT = (
    0.3  # of the contrast of the ink, on average of a square of four pixels: more than grain, less than a full stop
)
_SPECK = 0.01  # squared heights: a spot with less ink than this is smaller than a full stop


def to_grey(pixels: Pixels) -> Pixels:
    """(H, W) or (H, W, 3) -> (H, W)."""
    if pixels.ndim == 2:
        return pixels
    red, green, blue = (pixels[..., channel].astype(np.uint16) for channel in range(3))
    return ((77 * red + 150 * green + 29 * blue) >> 8).astype(np.uint8)


def find_ink(pixels: Pixels) -> Mask:
    """(H, W) or (H, W, 3) -> (H, W): the pixels that are neither background nor stray."""
    grey = to_grey(pixels)
    threshold = _otsu(np.bincount(grey.ravel(), minlength=256))
    if threshold is None:
        return np.zeros(grey.shape, dtype=np.bool_)
    dark = grey <= threshold
    ink = dark if 2 * np.count_nonzero(dark) <= dark.size else ~dark
    # In a stroke one pixel wide every pixel has two neighbours; a stray pixel or pair has fewer.
    padded = np.pad(ink, 1).view(np.uint8)
    across = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    near = across[:-2] + across[1:-1] + across[2:]
    strokes: Mask = ink & (near >= 3)
    return strokes


def find_faint(pixels: Pixels, ink: Mask) -> Mask:
    """(H, W) or (H, W, 3) and its ink -> (H, W): the ink, and what is too faint for it, as in small print."""
    grey = to_grey(pixels).astype(np.float32)
    if ink.all() or not ink.any():
        return ink
    paper, stroke = float(np.median(grey[~ink])), float(np.median(grey[ink]))
    apart = np.abs(grey - paper) / max(abs(stroke - paper), 1.0)
    squares = apart[:-1, :-1] + apart[:-1, 1:] + apart[1:, :-1] + apart[1:, 1:] > 4 * _FAINT
    inside = np.pad(squares, 1)
    near = inside[:-1, :-1] | inside[:-1, 1:] | inside[1:, :-1] | inside[1:, 1:]
    faint: Mask = near & (apart > _FAINT)
    return faint


def least_ink(letters: Mask) -> float:
    """(H, W) -> the number of pixels below which a mark is a speck.

    It depends on the height of the rows that hold most of the ink: about three quarters of the height of a line of text.
    Specks do not change that height.
    """
    counts = np.count_nonzero(letters, axis=1)
    core = np.flatnonzero(counts > counts.max(initial=0) / 10)
    height = core[-1] + 1 - core[0] if len(core) else 0
    return max(2.0, _SPECK * height**2)


def marks(letters: Mask, *, axis: int, at_least: float) -> Runs:
    """(H, W) -> (N, 2): the runs of columns (axis 0) or rows (axis 1) with ink, except those with too little ink."""
    counts = np.count_nonzero(letters, axis=axis)
    runs = _runs(counts > 0)
    total = np.concatenate([[0], np.cumsum(counts)])
    found: Runs = runs[total[runs[:, 1]] - total[runs[:, 0]] >= at_least]
    return found


def long_runs(mask: Mask, *, at_least: float) -> Mask:
    """(H, W) -> (H, W): the pixels in horizontal runs of at least this length."""
    height, width = mask.shape
    runs = _runs(np.pad(mask, ((0, 0), (0, 1))).ravel())
    long = runs[runs[:, 1] - runs[:, 0] >= at_least]
    steps = np.zeros(height * (width + 1) + 1, dtype=np.int8)
    steps[long[:, 0]] = 1
    steps[long[:, 1]] = -1
    found: Mask = np.cumsum(steps[:-1], dtype=np.int8).reshape(height, width + 1)[:, :width].astype(np.bool_)
    return found


def _otsu(counts: Counts) -> int | None:
    """(256,) number of pixels of each grey level -> the last dark level, or None if there are not two classes."""
    levels = np.arange(256)
    dark = np.cumsum(counts)
    light = dark[-1] - dark
    both = (dark > 0) & (light > 0)
    if not both.any():
        return None
    sums = np.cumsum(counts * levels)
    apart = (sums[-1] - sums) / np.maximum(light, 1) - sums / np.maximum(dark, 1)
    between = np.where(both, dark.astype(np.float64) * light * apart**2, 0.0)
    threshold = int(np.argmax(between))
    return threshold if apart[threshold] >= _CONTRAST else None


def _runs(mask: Mask) -> Runs:
    """(L,) -> (N, 2): the runs of true values."""
    edges = np.flatnonzero(np.diff(mask.view(np.int8), prepend=np.int8(0), append=np.int8(0)))
    runs: Runs = edges.reshape(-1, 2)
    return runs
