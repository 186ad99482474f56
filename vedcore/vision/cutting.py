"""Cut the image of a long line of text where the eye would, so that a reader of short lines can read it.

Shapes: H x W pixels of the image, N runs, each a row (start, end) with the end exclusive.

Ink is what Otsu's threshold parts from the background, which is the larger side, so that light on dark is
ink too. Specks are no ink. A thin stroke that runs along nearly the whole line is a ruling, not a letter.
The height of a line is that of what is left; a gap of 0.16 heights may be cut unless the line's own gaps say that it is one
between letters; one of 0.3 is a space.
"""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from vedcore.errors import ConfigError, ImageError

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Counts = NDArray[np.int64]
Runs = NDArray[np.int64]
Box = tuple[int, int, int, int]

_MARGIN = 3  # pixels of background kept around the ink of a piece
_GAP = 0.16  # heights: narrower than this, a gap is one between letters
_WORDS_APART = 2.5  # gaps between letters: as wide as this, on average, are the gaps between words
_SPACE = 0.3  # heights: a gap as wide as this is a space in nearly every font
_CONTRAST = 16  # grey levels between ink and background, below which the image is empty paper
_SPECK = 0.01  # squared heights: a spot of less ink than this is smaller than a full stop
_RULING_LENGTH = 2.0  # heights: no stroke of a letter runs as far without a break
_RULING_THICKNESS = 0.2  # heights
_RULING_SPAN = 0.8  # of the width of the ink: "nearly the whole line"


def _number(value: float) -> float:
    return float(value) if type(value) is int else value


def _positive(instance: Any, attribute: attrs.Attribute[float], value: Any) -> None:
    if type(value) is not float or not 0 < value < math.inf:
        raise ConfigError(f"CutRule.{attribute.name} must be a finite number above 0, got {value!r}")


def _text(instance: Any, attribute: attrs.Attribute[str], value: Any) -> None:
    if type(value) is not str:
        raise ConfigError(f"CutRule.{attribute.name} must be a string, got {value!r}")


@attrs.frozen(kw_only=True)
class CutRule:
    """When a line is cut and into what: widths are multiples of the height of the ink.

    A line whose ink is wider than ``above`` is cut into pieces of at most ``longest``, where its words allow
    it, and at least ``shortest``, by added background; ``separator`` stands between the texts of two pieces.
    """

    above: float = attrs.field(default=8.0, converter=_number, validator=_positive)
    longest: float = attrs.field(default=7.0, converter=_number, validator=_positive)
    shortest: float = attrs.field(default=3.0, converter=_number, validator=_positive)
    separator: str = attrs.field(default=" ", validator=_text)

    def __attrs_post_init__(self) -> None:
        if not self.shortest <= self.longest <= self.above:
            raise ConfigError(
                "CutRule needs shortest <= longest <= above, "
                f"got shortest {self.shortest}, longest {self.longest}, above {self.above}"
            )


@attrs.frozen
class CutPiece:
    """(left, top, right, bottom) of the image, right and bottom exclusive; (H, W) or (H, W, 3) pixels.

    The box is the ink of the piece with its margin. The pixels are what is read: those of the box, with
    background on the right where the box alone would be too narrow.
    """

    box: Box
    pixels: Pixels = attrs.field(eq=attrs.cmp_using(eq=np.array_equal))


def cut_line(pixels: Pixels, rule: CutRule) -> list[CutPiece]:
    """(H, W) or (H, W, 3) uint8 -> pieces from left to right; none means: leave the image as it is.

    A word without an allowed gap is never cut, however wide: its piece is wider than the rule's longest.
    """
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise ImageError(
            f"a line must be uint8 of shape (H, W) or (H, W, 3), got {pixels.dtype} of shape {pixels.shape}"
        )
    ink = _ink(pixels)
    letters = _without_rulings(ink)
    speck = _speck(letters)
    rows = _marks(letters, axis=1, speck=speck)
    if not len(rows):
        return []
    top, bottom = rows[0, 0], rows[-1, 1]
    height = float(bottom - top)
    marks = _marks(letters[top:bottom], axis=0, speck=speck)
    words = _joined(marks, gap=max(_GAP * height, _letter_gap(marks, height)))
    if not len(words) or words[-1, 1] - words[0, 0] <= rule.above * height:
        return []
    pieces = []
    for first, last in _grouped(words, longest=rule.longest * height, space=_SPACE * height):
        start, end = words[first, 0], words[last, 1]
        own = _marks(letters[top:bottom, start:end], axis=1, speck=speck)
        if not len(own):  # marks of few pixels in each of many rows
            own = np.array([[0, bottom - top]])
        # The margin ends where the ink of a neighbour begins.
        left = max(start - _MARGIN, words[first - 1, 1] if first else 0)
        right = min(end + _MARGIN, words[last + 1, 0] if last + 1 < len(words) else ink.shape[1])
        above = max(top + own[0, 0] - _MARGIN, 0)
        below = min(top + own[-1, 1] + _MARGIN, ink.shape[0])
        box = (int(left), int(above), int(right), int(below))
        pieces.append(CutPiece(box, _extended(pixels, ink, box, rule.shortest)))
    return pieces


def _ink(pixels: Pixels) -> Mask:
    """(H, W) or (H, W, 3) -> (H, W): what is neither background nor a stray pixel."""
    grey = pixels
    if pixels.ndim == 3:
        red, green, blue = (pixels[..., channel].astype(np.uint16) for channel in range(3))
        grey = ((77 * red + 150 * green + 29 * blue) >> 8).astype(np.uint8)
    threshold = _otsu(np.bincount(grey.ravel(), minlength=256))
    if threshold is None:
        return np.zeros(grey.shape, dtype=np.bool_)
    dark = grey <= threshold
    ink = dark if 2 * np.count_nonzero(dark) <= dark.size else ~dark
    # A stroke of one pixel's width gives its pixels two neighbours, a stray pixel or pair does not.
    padded = np.pad(ink, 1).view(np.uint8)
    across = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    near = across[:-2] + across[1:-1] + across[2:]
    strokes: Mask = ink & (near >= 3)
    return strokes


def _otsu(counts: Counts) -> int | None:
    """(256,) pixels at each grey level -> the last dark level; None where there are not two classes."""
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


def _without_rulings(ink: Mask) -> Mask:
    """(H, W) -> (H, W): the ink without thin strokes that run along nearly the whole line."""
    rows = np.flatnonzero(ink.any(axis=1))
    columns = np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        return ink
    height = rows[-1] + 1 - rows[0]
    ruled = _runs_of_length(ink, at_least=max(2, _RULING_LENGTH * height))
    if not ruled.any():
        return ink
    ruled &= ~_runs_of_length(ruled.T, at_least=_RULING_THICKNESS * height + 1).T
    span = columns[-1] + 1 - columns[0]
    return ink & ~ruled if np.count_nonzero(ruled.any(axis=0)) >= _RULING_SPAN * span else ink


def _runs_of_length(mask: Mask, *, at_least: float) -> Mask:
    """(H, W) -> (H, W): the pixels that lie in a horizontal run of at least so many."""
    height, width = mask.shape
    runs = _runs(np.pad(mask, ((0, 0), (0, 1))).ravel())
    long = runs[runs[:, 1] - runs[:, 0] >= at_least]
    steps = np.zeros(height * (width + 1) + 1, dtype=np.int8)
    steps[long[:, 0]] = 1
    steps[long[:, 1]] = -1
    found: Mask = np.cumsum(steps[:-1], dtype=np.int8).reshape(height, width + 1)[:, :width].astype(np.bool_)
    return found


def _runs(mask: Mask) -> Runs:
    """(L,) -> (N, 2): the runs of true."""
    edges = np.flatnonzero(np.diff(mask.view(np.int8), prepend=np.int8(0), append=np.int8(0)))
    runs: Runs = edges.reshape(-1, 2)
    return runs


def _speck(letters: Mask) -> float:
    """(H, W) -> the least ink of a mark, from the height of the rows that hold most of the ink.

    Those rows are some three quarters of a line of text, and no speck stretches them.
    """
    counts = np.count_nonzero(letters, axis=1)
    core = np.flatnonzero(counts > counts.max(initial=0) / 10)
    height = core[-1] + 1 - core[0] if len(core) else 0
    return max(2.0, _SPECK * height**2)


def _marks(letters: Mask, *, axis: int, speck: float) -> Runs:
    """(H, W) -> (N, 2): the runs of columns (axis 0) or rows (axis 1) with ink, without specks."""
    counts = np.count_nonzero(letters, axis=axis)
    runs = _runs(counts > 0)
    total = np.concatenate([[0], np.cumsum(counts)])
    marks: Runs = runs[total[runs[:, 1]] - total[runs[:, 0]] >= speck]
    return marks


def _letter_gap(marks: Runs, height: float) -> float:
    """(N, 2) -> the gap from which the marks of a line are words apart, not letters.

    Marks that are mostly wider than the line is high are words: 0. Else they are letters, and two kinds of gaps are told
    apart as ink is from paper; where there is one kind alone, the line is one word: infinity.
    """
    if not len(marks) or np.median(marks[:, 1] - marks[:, 0]) >= height:
        return 0.0
    gaps = np.sort(marks[1:, 0] - marks[:-1, 1]).astype(np.float64)
    count = np.arange(1, len(gaps))
    if not len(count):
        return 0.0
    below = np.cumsum(gaps)[:-1]
    narrow, wide = below / count, (gaps.sum() - below) / (len(gaps) - count)
    split = int(np.argmax(count * (len(gaps) - count) * (wide - narrow) ** 2))
    two_kinds = wide[split] >= _WORDS_APART * narrow[split]
    return float(gaps[split] + gaps[split + 1]) / 2 if two_kinds else math.inf


def _joined(runs: Runs, *, gap: float) -> Runs:
    """(N, 2) -> (M, 2): runs with less than ``gap`` between them are one."""
    parted = runs[1:, 0] - runs[:-1, 1] >= gap
    edge = np.ones(min(len(runs), 1), dtype=np.bool_)
    starts = runs[np.concatenate([edge, parted]), 0]
    ends = runs[np.concatenate([parted, edge]), 1]
    return np.stack([starts, ends], axis=1)


def _grouped(words: Runs, *, longest: float, space: float) -> list[tuple[int, int]]:
    """(N, 2) -> (first word, last word) of each piece.

    The fewest pieces, where a cut through less than a space costs as much as one piece more: a gap inside a
    word is cut only where that saves pieces. Then the widest gaps; then the most even pieces.
    A piece is wider than ``longest`` only where it is one word.
    """
    starts, ends = words[:, 0].tolist(), words[:, 1].tolist()
    costs = [(0.0, 0.0, 0.0)]  # of the words before each index
    firsts = []
    for last, end in enumerate(ends):
        best, chosen = (math.inf, 0.0, 0.0), last
        for first in range(last, -1, -1):
            width = end - starts[first]
            if width > longest and first < last:
                break
            count, short, uneven = costs[first]
            missing = max(0.0, space - (starts[first] - ends[first - 1])) if first else 0.0
            cost = (count + 1 + (missing > 0), short + missing, uneven + float(width) ** 2)
            if cost < best:
                best, chosen = cost, first
        costs.append(best)
        firsts.append(chosen)
    pieces = []
    last = len(ends) - 1
    while last >= 0:
        pieces.append((firsts[last], last))
        last = firsts[last] - 1
    return pieces[::-1]


def _extended(pixels: Pixels, ink: Mask, box: Box, shortest: float) -> Pixels:
    """(H, W) or (H, W, 3) -> the box, with background on its right up to ``shortest`` heights."""
    left, top, right, bottom = box
    piece = pixels[top:bottom, left:right]
    missing = math.ceil(shortest * (bottom - top)) - (right - left)
    if missing <= 0:
        return piece.copy()
    paper = piece[~ink[top:bottom, left:right]]
    colour = np.median(paper if len(paper) else piece.reshape(-1, *pixels.shape[2:]), axis=0)
    margin = np.broadcast_to(colour.astype(np.uint8), (bottom - top, missing, *pixels.shape[2:]))
    return np.concatenate([piece, margin], axis=1)
