"""Cut the image of a long line of text between its words, so that a model for short lines can read it.

Shapes: H x W pixels of the image; N runs, each a row (start, end) with the end exclusive.

The height of a line is the height of its ink. A gap of 0.3 heights is a space, unless the line's own gaps show that it lies
between letters. What has no such gap is a word here, and is cut with an overlap if it is too wide.
"""

from __future__ import annotations

import math

import attrs
import numpy as np
from numpy.typing import NDArray

from vedcore.errors import ImageError
from vedcore.vision.cropping import MARGIN, Box, background, crop_box, paint_out
from vedcore.vision.cut_rule import CutRule
from vedcore.vision.ink import Mask, Pixels, Runs, find_faint, find_ink, least_ink, marks
from vedcore.vision.rulings import SOFT, Rulings, dilated, find_rulings
from vedcore.vision.word_cuts import cut_word

_WORDS_APART = 2.5  # the gaps between words are on average at least this many times as wide as those between letters
_SPACE = 0.3  # heights: a gap as wide as this is a space in nearly every font
_NARROW = 0.25  # heights: a full stop, a colon or a thin letter
_ONE_SIDED = (
    1.6  # times as wide as the gap on the other side of a narrow mark: the gap is not only the room of the mark
)
_APART = 0.8  # heights between marks that are no letters
_SQUEEZED = 1.15  # times the rule's above: a word up to this wide is squeezed, which costs no more than a cut
_SOFT = 0.05  # heights at the sides of a gap that the soft edges of the letters darken


@attrs.frozen
class CutPiece:
    """One piece of a line that was cut.

    box: (left, top, right, bottom) in pixels of the image, right and bottom exclusive: the ink with its margin.
    pixels: (H, W) or (H, W, 3), what the model reads: the box, with background on the right if it is too narrow.
    overlap: how many columns at the left of the box the piece before shows too, because a word was cut; 0 if there is a gap
    between the two.
    """

    box: Box
    pixels: Pixels = attrs.field(eq=attrs.cmp_using(eq=np.array_equal))
    overlap: int = 0


def cut_line(pixels: Pixels, rule: CutRule) -> list[CutPiece]:
    """(H, W) or (H, W, 3) uint8 -> pieces from left to right; an empty list if the line is to be read as it is.

    A line that is short enough is one piece if it has wide margins or rulings, which the piece leaves out. A word much
    wider than the rule's above is cut into pieces that overlap.
    Raises ImageError for another shape or type.
    """
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise ImageError(
            f"a line must be uint8 of shape (H, W) or (H, W, 3), got {pixels.dtype} of shape {pixels.shape}",
            expected="uint8 of shape (H, W) or (H, W, 3)",
            found=f"{pixels.dtype} of shape {pixels.shape}",
        )
    ink = find_ink(pixels)
    rulings = find_rulings(ink)
    line = _Line(pixels, ink, rulings, ink & ~rulings.mask, rule.shortest)
    speck = least_ink(line.letters)
    rows = marks(line.letters, axis=1, at_least=speck)
    if not len(rows):
        return []
    top, bottom = int(rows[0, 0]), int(rows[-1, 1])
    columns = marks(line.letters[top:bottom], axis=0, at_least=speck)
    if not len(columns):
        return []
    height = _height(columns, bottom - top)
    start, end = int(columns[0, 0]), int(columns[-1, 1])
    if end - start <= rule.above * height:
        box = crop_box(pixels, ink, rulings, (start, top, end, bottom), rule.shortest)
        return [] if box is None else [line.piece(box)]
    words = _words(columns, line.faint(top, bottom), height)
    pieces = []
    for first, last in _grouped(words, longest=rule.longest * height):
        start, end = int(words[first, 0]), int(words[last, 1])
        own = marks(line.letters[top:bottom, start:end], axis=1, at_least=speck)
        if not len(own):  # marks with few pixels in each of many rows
            own = np.array([[0, bottom - top]])
        above = max(top + int(own[0, 0]) - MARGIN, 0)
        below = min(top + int(own[-1, 1]) + MARGIN, ink.shape[0])
        parts = [(0, end - start)]
        if end - start > _SQUEEZED * rule.above * height:
            counts = np.count_nonzero(line.letters[top:bottom, start:end], axis=0)
            parts = cut_word(counts, longest=rule.longest * height, height=height)
        # The margin ends where the ink of a neighbour begins.
        left = max(start - MARGIN, int(words[first - 1, 1]) if first else 0)
        right = min(end + MARGIN, int(words[last + 1, 0]) if last + 1 < len(words) else ink.shape[1])
        starts = [left, *(start + at for at, _ in parts[1:])]
        ends = [*(start + at for _, at in parts[:-1]), right]
        overlaps = [0, *(before - at for before, at in zip(ends, starts[1:], strict=False))]
        for at, to, overlap in zip(starts, ends, overlaps, strict=True):
            pieces.append(line.piece((at, above, to, below), overlap))
    return pieces


@attrs.frozen
class _Line:
    """The image of a line, its ink, the rulings in it and the letters, and the least width of a piece in heights."""

    pixels: Pixels
    ink: Mask
    rulings: Rulings
    letters: Mask
    shortest: float

    def faint(self, top: int, bottom: int) -> Mask:
        """(bottom - top, W): the ink in these rows and what is too faint for it, without rulings."""
        ruled = dilated(self.rulings.mask[top:bottom], SOFT)
        faint: Mask = find_faint(self.pixels[top:bottom], self.ink[top:bottom]) & ~ruled
        return faint

    def piece(self, box: Box, overlap: int = 0) -> CutPiece:
        """The piece in the box, without rulings, and with background on the right up to the least width."""
        left, top, right, bottom = box
        piece = self.pixels[top:bottom, left:right].copy()
        paint_out(piece, self.ink, self.rulings, box)
        missing = math.ceil(self.shortest * (bottom - top)) - (right - left)
        if missing > 0:
            colour = background(piece, self.ink, box)
            margin = np.broadcast_to(colour, (bottom - top, missing, *self.pixels.shape[2:]))
            piece = np.concatenate([piece, margin], axis=1)
        return CutPiece(box, piece, overlap)


def _height(columns: Runs, ink: int) -> float:
    """(N, 2) columns with ink, and the height of the ink -> the height of the line.

    Marks that are as far apart as they are high are dots or dashes. Their distance says more about the size of the letters.
    """
    gaps = columns[1:, 0] - columns[:-1, 1]
    if not len(gaps) or np.median(gaps) < _APART * ink:
        return float(ink)
    return max(float(ink), float(np.median(np.diff(columns[:, 0]))))


def _words(columns: Runs, faint: Mask, height: float) -> Runs:
    """(N, 2) columns with ink, and (H, W) ink and faint marks -> (M, 2): what stands between sure spaces."""
    soft = max(1, round(_SOFT * height))
    separate = columns[1:, 0] - columns[:-1, 1] >= max(_SPACE * height, _letter_gap(columns, height))
    separate &= ~_beside_narrow(columns, _NARROW * height) & _clear(columns, faint, soft)
    words = _joined(columns, separate)
    _add_faint_ends(words, faint, soft, round(_SPACE * height))
    return words


def _letter_gap(columns: Runs, height: float) -> float:
    """(N, 2) runs of columns with ink -> the width from which a gap separates words and not letters.

    Runs that are mostly wider than the line is high are words, so every gap counts: 0. Otherwise the runs are letters, and
    Otsu's method divides the gaps into narrow and wide ones. If all gaps are alike, the line is one word: infinity.
    """
    if not len(columns) or np.median(columns[:, 1] - columns[:, 0]) >= height:
        return 0.0
    gaps = np.sort(columns[1:, 0] - columns[:-1, 1]).astype(np.float64)
    count = np.arange(1, len(gaps))
    if not len(count):
        return 0.0
    below = np.cumsum(gaps)[:-1]
    narrow, wide = below / count, (gaps.sum() - below) / (len(gaps) - count)
    split = int(np.argmax(count * (len(gaps) - count) * (wide - narrow) ** 2))
    two_kinds = wide[split] >= _WORDS_APART * narrow[split]
    return float(gaps[split] + gaps[split + 1]) / 2 if two_kinds else math.inf


def _beside_narrow(columns: Runs, narrow: float) -> NDArray[np.bool_]:
    """(N, 2) -> (N - 1,): whether a gap belongs to a narrow mark, which in some fonts has much room on both sides."""
    gaps = columns[1:, 0] - columns[:-1, 1]
    around = np.pad(gaps, 1)
    thin = columns[:, 1] - columns[:, 0] < narrow
    after = thin[:-1] & (gaps <= _ONE_SIDED * around[:-2])
    before = thin[1:] & (gaps <= _ONE_SIDED * around[2:])
    beside: NDArray[np.bool_] = after | before
    return beside


def _clear(columns: Runs, faint: Mask, soft: int) -> NDArray[np.bool_]:
    """(N, 2) and (H, W) -> (N - 1,): whether nothing is in each gap, not even a mark too faint or too small for ink."""
    marked = np.concatenate([[0], np.cumsum(faint.any(axis=0))])
    starts, ends = columns[:-1, 1] + soft, columns[1:, 0] - soft
    clear: NDArray[np.bool_] = marked[np.maximum(starts, ends)] == marked[starts]
    return clear


def _add_faint_ends(words: Runs, faint: Mask, soft: int, within: int) -> None:
    """Extend the first and the last of (N, 2) by faint marks that are near, such as a full stop in small print. In place."""
    columns = np.asarray(faint.any(axis=0))
    marked = np.flatnonzero(columns[:-1] & columns[1:])  # not a single column, which may be grain
    start, end = int(words[0, 0]), int(words[-1, 1])
    before = marked[(marked >= start - within) & (marked < start - soft)]
    after = marked[(marked >= end + soft) & (marked < end + within)]
    words[0, 0] = min(start, int(before[0]) if len(before) else start)
    words[-1, 1] = max(end, int(after[-1]) + 2 if len(after) else end)


def _joined(runs: Runs, separate: NDArray[np.bool_]) -> Runs:
    """(N, 2) and (N - 1,) whether a run is separate from the one before -> (M, 2): those that are not are merged."""
    edge = np.ones(1, dtype=np.bool_)
    starts = runs[np.concatenate([edge, separate]), 0]
    ends = runs[np.concatenate([separate, edge]), 1]
    return np.stack([starts, ends], axis=1)


def _grouped(words: Runs, *, longest: float) -> list[tuple[int, int]]:
    """(N, 2) -> (first word, last word) of each piece: the fewest pieces, and of these the most even ones.

    A piece is wider than ``longest`` only if it is a single word.
    """
    starts, ends = words[:, 0].tolist(), words[:, 1].tolist()
    costs = [(0, 0.0)]  # the number of pieces and the sum of their squared widths, of the words before each index
    firsts = []
    for last, end in enumerate(ends):
        best, chosen = (len(ends) + 1, 0.0), last
        for first in range(last, -1, -1):
            width = end - starts[first]
            if width > longest and first < last:
                break
            count, uneven = costs[first]
            cost = (count + 1, uneven + float(width) ** 2)
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
