"""Merge the texts of the pieces of one word, which overlap.

The end of a text shows the same letters as the beginning of the next, except that the letters at the two cuts may be
damaged. The texts are aligned there, and the merged text changes from one to the other within the letters that agree.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from vedcore.reader.words import usual_width

_SUBSTITUTED, _INSERTED = 1.0, 1.5  # the costs of letters that differ and of a letter that one text lacks
_SHIFTED = 1.0  # the cost of an overlap that is longer or shorter than its width suggests, for each letter
_WITHIN = (2.0, 2)  # times as long as the width suggests, and letters more: the longest overlap


class Overlap(NamedTuple):
    """What two neighbouring pieces share, as a part of the width of each."""

    of_left: float
    of_right: float


def merge(texts: Sequence[str], overlaps: Sequence[Overlap], *, complete: bool = True) -> str:
    """The text of the pieces so far, which nothing that follows can change.

    texts: of the first pieces. complete: whether the last of them is. overlaps: of all pieces, each with the next.
    """
    merged, start = "", 0
    for index, (text, overlap) in enumerate(zip(texts, [*overlaps, None], strict=False)):
        whole = complete or index + 1 < len(texts)
        if not whole and index:  # where this text begins depends on its length
            break
        if overlap is None:
            merged += text[start:]
        elif index + 1 < len(texts) and (complete or index + 2 < len(texts)):
            end, following = seam(text, texts[index + 1], overlap)
            merged += text[start : max(start, end)]
            start = following
        else:
            merged += text[start : max(start, len(text) - _longest(text, overlap.of_left))]
    return merged


def seam(left: str, right: str, overlap: Overlap) -> tuple[int, int]:
    """How many letters of ``left`` are kept, and where ``right`` goes on."""
    if not left or not right:
        return len(left), 0
    end = left[len(left) - _longest(left, overlap.of_left) :]
    beginning = right[: _longest(right, overlap.of_right)]
    # By how many letters an overlap that begins, or ends, at each letter would be wider than the images say.
    before = [wide - overlap.of_left * len(left) for wide in _widths(left, reverse=True)[: len(end) + 1]][::-1]
    after = [wide - overlap.of_right * len(right) for wide in _widths(right)[: len(beginning) + 1]]
    matches = _matches(end, beginning, before, after)
    if matches:
        at, follows = _middle(matches)
        return len(left) - len(end) + at, follows
    middle = overlap.of_left * len(left) / 2, overlap.of_right * len(right) / 2
    kept = min(range(len(before)), key=lambda at: abs(before[at] + middle[0]))
    follows = min(range(len(after)), key=lambda at: abs(after[at] + middle[1]))
    return len(left) - len(end) + kept, follows


def _longest(text: str, share: float) -> int:
    """The most letters of ``text`` that an overlap may have: less than grows with the text, so that it can be streamed."""
    return min(math.ceil(len(text) / 2), math.ceil(_WITHIN[0] * share * len(text)) + _WITHIN[1])


def _widths(text: str, *, reverse: bool = False) -> list[float]:
    """(L + 1,) the widths of the first, or last, letters of ``text``, in usual letters of it."""
    widths = [usual_width(letter) for letter in (reversed(text) if reverse else text)]
    mean = sum(widths) / len(widths) or 1.0
    return list(accumulate((width / mean for width in widths), initial=0.0))


def _matches(end: str, beginning: str, before: list[float], after: list[float]) -> list[tuple[int, int]]:
    """The pairs of equal letters in the best alignment of a part at the end of ``end`` with one at the start of ``beginning``.

    A rare letter that agrees counts for more than one that is everywhere: where all letters are alike, widths alone decide.
    """
    counts = Counter(end + beginning)
    total = len(end) + len(beginning)
    # best[i][j]: the score of the letters up to i and j, and the pair of letters before them.
    best: list[list[tuple[float, tuple[int, int] | None]]] = []
    for i in range(len(end) + 1):
        row: list[tuple[float, tuple[int, int] | None]] = []
        for j in range(len(beginning) + 1):
            choices: list[tuple[float, tuple[int, int] | None]] = []
            if j == 0:
                choices.append((-_SHIFTED / 2 * abs(before[i]), None))
            if i and j:
                letter = end[i - 1]
                agree = -math.log(counts[letter] / total) if letter == beginning[j - 1] else -_SUBSTITUTED
                choices.append((best[i - 1][j - 1][0] + agree, (i - 1, j - 1)))
            if i:
                choices.append((best[i - 1][j][0] - _INSERTED, (i - 1, j)))
            if j:
                choices.append((row[j - 1][0] - _INSERTED, (i, j - 1)))
            row.append(max(choices, key=lambda choice: choice[0]))
        best.append(row)
    place: tuple[int, int] | None = max(
        ((len(end), j) for j in range(len(beginning) + 1)),
        key=lambda pair: best[pair[0]][pair[1]][0] - _SHIFTED / 2 * abs(after[pair[1]]),
    )
    found = []
    while place is not None:
        i, j = place
        origin = best[i][j][1]
        if origin == (i - 1, j - 1) and end[i - 1] == beginning[j - 1]:
            found.append(origin)
        place = origin
    return found[::-1]


def _middle(matches: list[tuple[int, int]]) -> tuple[int, int]:
    """The middle pair of the longest run of letters that follow each other in both texts."""
    runs: list[list[tuple[int, int]]] = []
    for pair in matches:
        if runs and runs[-1][-1] == (pair[0] - 1, pair[1] - 1):
            runs[-1].append(pair)
        else:
            runs.append([pair])
    longest = max(runs, key=len)
    return longest[len(longest) // 2]
