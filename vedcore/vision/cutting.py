"""Cut the image of a long line of text between its words, so that a model for short lines can read it.

Shapes: H x W pixels of the image; N runs, each a row (start, end) with the end exclusive.

The height of a line is the height of its ink. A gap of 0.16 heights may be cut, unless the line's own gaps show that it
lies between letters. A gap of 0.3 heights is a space.
"""

from __future__ import annotations

import math

import attrs
import numpy as np

from vedcore.errors import ImageError
from vedcore.vision.cut_rule import CutRule
from vedcore.vision.ink import Mask, Pixels, Runs, find_ink, least_ink, marks, without_rulings

Box = tuple[int, int, int, int]

_MARGIN = 3  # pixels of background kept around the ink of a piece
_GAP = 0.16  # heights: a narrower gap lies between letters
_WORDS_APART = 2.5  # the gaps between words are on average at least this many times as wide as those between letters
_SPACE = 0.3  # heights: a gap as wide as this is a space in nearly every font


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
    """(H, W) or (H, W, 3) uint8 -> pieces from left to right; an empty list if the line is not to be cut.

    A word without an allowed gap is never cut, however wide: its piece is wider than the rule's longest.
    Raises ImageError for another shape or type.
    """
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise ImageError(
            f"a line must be uint8 of shape (H, W) or (H, W, 3), got {pixels.dtype} of shape {pixels.shape}",
            expected="uint8 of shape (H, W) or (H, W, 3)",
            found=f"{pixels.dtype} of shape {pixels.shape}",
        )
    ink = find_ink(pixels)
    letters = without_rulings(ink)
    speck = least_ink(letters)
    rows = marks(letters, axis=1, at_least=speck)
    if not len(rows):
        return []
    top, bottom = rows[0, 0], rows[-1, 1]
    height = float(bottom - top)
    columns = marks(letters[top:bottom], axis=0, at_least=speck)
    words = _joined(columns, gap=max(_GAP * height, _letter_gap(columns, height)))
    if not len(words) or words[-1, 1] - words[0, 0] <= rule.above * height:
        return []
    pieces = []
    for first, last in _grouped(words, longest=rule.longest * height, space=_SPACE * height):
        start, end = words[first, 0], words[last, 1]
        own = marks(letters[top:bottom, start:end], axis=1, at_least=speck)
        if not len(own):  # marks with few pixels in each of many rows
            own = np.array([[0, bottom - top]])
        # The margin ends where the ink of a neighbour begins.
        left = max(start - _MARGIN, words[first - 1, 1] if first else 0)
        right = min(end + _MARGIN, words[last + 1, 0] if last + 1 < len(words) else ink.shape[1])
        above = max(top + own[0, 0] - _MARGIN, 0)
        below = min(top + own[-1, 1] + _MARGIN, ink.shape[0])
        box = (int(left), int(above), int(right), int(below))
        pieces.append(CutPiece(box, _extended(pixels, ink, box, rule.shortest)))
    return pieces


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


def _joined(runs: Runs, *, gap: float) -> Runs:
    """(N, 2) -> (M, 2): runs with less than ``gap`` between them are merged."""
    separate = runs[1:, 0] - runs[:-1, 1] >= gap
    edge = np.ones(min(len(runs), 1), dtype=np.bool_)
    starts = runs[np.concatenate([edge, separate]), 0]
    ends = runs[np.concatenate([separate, edge]), 1]
    return np.stack([starts, ends], axis=1)


def _grouped(words: Runs, *, longest: float, space: float) -> list[tuple[int, int]]:
    """(N, 2) -> (first word, last word) of each piece.

    First criterion: the fewest pieces, where a cut through a gap narrower than a space costs as much as one more piece.
    So such a gap is cut only if that saves pieces. Second: the widest gaps. Third: the most even pieces.
    A piece is wider than ``longest`` only if it is a single word.
    """
    starts, ends = words[:, 0].tolist(), words[:, 1].tolist()
    costs = [(0.0, 0.0, 0.0)]  # the cost of the words before each index
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
    """(H, W) or (H, W, 3) -> the pixels in the box, with background on the right up to ``shortest`` heights."""
    left, top, right, bottom = box
    piece = pixels[top:bottom, left:right]
    missing = math.ceil(shortest * (bottom - top)) - (right - left)
    if missing <= 0:
        return piece.copy()
    paper = piece[~ink[top:bottom, left:right]]
    colour = np.median(paper if len(paper) else piece.reshape(-1, *pixels.shape[2:]), axis=0)
    margin = np.broadcast_to(colour.astype(np.uint8), (bottom - top, missing, *pixels.shape[2:]))
    return np.concatenate([piece, margin], axis=1)
