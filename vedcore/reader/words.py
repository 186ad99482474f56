"""Where the words of a line are: the gaps in the ink of its image, and later the lengths of the words of its text.

The image is gone when the text is known. What remains of it is ``InkGaps``. All positions are fractions of the image's width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vedcore.vision.ink import find_ink, least_ink, marks
from vedcore.vision.rulings import without_rulings

_MOST_GAPS = 64  # of a line; one with more words gets boxes from the lengths of its words alone
_NARROW, _WIDE = frozenset("iljtfrI.,:;'|!()[]`-"), frozenset("mwMW@%—")
_NARROW_WIDTH, _WIDE_WIDTH, _CAPITAL_WIDTH = 0.6, 1.5, 1.25  # of an ordinary small letter
_GAP_WEIGHT = 0.6  # the misfit of word widths that a gap of twice the width is worth


@dataclass(frozen=True, slots=True)
class InkGaps:
    """The ink of a line along its width, from 0 at the left edge of the image to 1 at the right.

    start, end: where the ink begins and ends; 0 and 1 if there is none.
    gaps: (start, end) of the columns without ink between them, the widest first.
    """

    start: float = 0.0
    end: float = 1.0
    gaps: tuple[tuple[float, float], ...] = ()

    def place(self, text: str) -> list[tuple[str, float, float]]:
        """The words of ``text``, each with the start and end of its ink.

        Words are what white space separates. The gaps between them are wide, and lie where the lengths of the words put
        them. If there are fewer gaps than spaces, the lengths alone decide.
        """
        words = text.split()
        lengths = np.array([usual_width(word) for word in words])
        if len(words) - 1 > len(self.gaps):
            return self._in_proportion(words, lengths)
        cuts = self._choose(lengths) if len(words) > 1 else []
        starts = [self.start, *(end for _, end in cuts)]
        ends = [*(start for start, _ in cuts), self.end]
        return list(zip(words, starts, ends, strict=True)) if words else []

    def _in_proportion(self, words: list[str], lengths: NDArray[np.float64]) -> list[tuple[str, float, float]]:
        """The words with one letter of space between them, fitted to the extent of the ink."""
        ends = np.cumsum(lengths + 1) - 1
        scale = (self.end - self.start) / ends[-1]
        starts = self.start + scale * (ends - lengths)
        return list(zip(words, starts.tolist(), (self.start + scale * ends).tolist(), strict=True))

    def _choose(self, lengths: NDArray[np.float64]) -> list[tuple[float, float]]:
        """(n,) lengths of words -> the n - 1 gaps between them, from left to right.

        The choice minimizes a sum: the misfit of the width of each word, less the logarithm of the width of each gap.
        """
        count = len(lengths) - 1
        widest = np.array(self.gaps[:count])
        letter = (self.end - self.start - float(np.sum(widest[:, 1] - widest[:, 0]))) / float(lengths.sum())
        space = float(widest[-1, 1] - widest[-1, 0])
        if letter <= 0:  # no ink but a few specks
            letter = (self.end - self.start) / float(lengths.sum())
        gaps = np.array(sorted(self.gaps))
        starts, ends = gaps[:, 0], gaps[:, 1]
        price = -_GAP_WEIGHT * np.log2((ends - starts) / space)

        def misfit(width: NDArray[np.float64], length: float) -> NDArray[np.float64]:
            return (width / letter - length) ** 2 / length

        later = np.tri(len(gaps), k=-1).astype(np.bool_)  # row: the gap after a word; column: the gap before it
        between = starts[:, None] - ends[None, :]
        cost = price + misfit(starts - self.start, lengths[0])
        before = []
        for length in lengths[1:-1]:
            sums = np.where(later, cost[None, :] + misfit(between, length), np.inf)
            before.append(np.argmin(sums, axis=1))
            cost = price + np.min(sums, axis=1)
        chosen = [int(np.argmin(cost + misfit(self.end - ends, lengths[-1])))]
        for earlier in reversed(before):
            chosen.append(int(earlier[chosen[-1]]))
        return [(float(starts[index]), float(ends[index])) for index in reversed(chosen)]


def ink_gaps(pixels: NDArray[np.uint8]) -> InkGaps:
    """(H, W) or (H, W, 3) -> the gaps in the ink of a line. Specks and rulings along the line are no ink."""
    letters = without_rulings(find_ink(pixels))
    runs = marks(letters, axis=0, at_least=least_ink(letters)) / max(1, letters.shape[1])
    if not len(runs):
        return InkGaps()
    gaps = np.stack([runs[:-1, 1], runs[1:, 0]], axis=1)
    widest = np.argsort(gaps[:, 0] - gaps[:, 1], kind="stable")[:_MOST_GAPS]
    return InkGaps(float(runs[0, 0]), float(runs[-1, 1]), tuple((start, end) for start, end in gaps[widest].tolist()))


def usual_width(word: str) -> float:
    """The usual width of a text without spaces, in ordinary small letters."""
    narrow, wide = sum(mark in _NARROW for mark in word), sum(mark in _WIDE for mark in word)
    capitals = sum(mark.isupper() for mark in word if mark not in _NARROW | _WIDE)
    ordinary = len(word) - narrow - wide - capitals
    return ordinary + _NARROW_WIDTH * narrow + _WIDE_WIDTH * wide + _CAPITAL_WIDTH * capitals
