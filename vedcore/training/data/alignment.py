"""Split the label of a line that is cut: which characters belong to which piece.

Two things say it. What a reader reads in a piece resembles its characters; and the words of the label have places on the
line, which their lengths and the gaps in the ink tell. The better the reader reads the line, the more its reading counts:
a reader that knows the writing decides alone, and without one the places do.

L characters of a label, n pieces.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Costs = NDArray[np.float64]

# Costs are in nats.
_SURE = 1e-9  # the error rate of a reading without errors
_RESEMBLANCE = 2.0  # what an edit is worth at an error rate of one half; unrelated texts differ in 80 to 90 %
_LARGEST_MISPLACEMENT = 12.0  # at one nat per letter: the places can be wrong altogether, for example in joined writing
_INSIDE_WORD = 6.0  # for a cut through a word at a gap, which is rarely between two letters
_WRONG, _CONFIDENT = 0.65, 0.8  # a reader that finds so many wrong characters and is so confident reads another text
_MISPLACED, _UNCLEAR = (
    2.0,
    0.5,
)  # letters; words so far from their places are not those of the line, unless it reads well


@dataclass(frozen=True, slots=True)
class PieceReading:
    """A piece of a line: where it starts and ends in the line (0 to 1), and what a reader reads there.

    overlaps: whether it starts before the end of the piece before; otherwise a gap separates the two.
    """

    start: float
    end: float
    text: str
    confidence: float
    overlaps: bool = False


@dataclass(frozen=True, slots=True)
class Places:
    """(L + 1,) where each character of a label starts and where the one before it ends, as fractions of the line's width.

    letter: the width of a letter.
    """

    starts: Costs
    ends: Costs
    letter: float

    @classmethod
    def of_words(cls, label: str, words: Sequence[tuple[str, float, float]]) -> Places:
        """From the words of ``label``, each with the start and end of its ink. Letters of a word are equally wide."""
        starts, ends = np.zeros(len(label) + 1), np.zeros(len(label) + 1)
        at = 0
        for word, left, right in words:
            at = label.index(word, at)
            edges = np.linspace(left, right, len(word) + 1)
            starts[at : at + len(word)] = edges[:-1]
            ends[at + 1 : at + len(word) + 1] = edges[1:]
            at += len(word)
        extent = words[-1][2] - words[0][1] if words else 1.0
        return cls(starts, ends, max(extent, 1e-6) / max(1, len(" ".join(label.split()))))


@dataclass(frozen=True, slots=True)
class Split:
    """The start and end of each piece's part in the label, and the share of characters that the reader read wrong there."""

    spans: tuple[tuple[int, int], ...]
    error_rate: float

    def parts(self, label: str) -> list[str]:
        """The text of each piece."""
        return [label[start:end] for start, end in self.spans]


def split_label(label: str, places: Places, pieces: Sequence[PieceReading], *, spaced: bool = True) -> Split | None:
    """The cheapest split of ``label``, or None if the pieces cannot contain it, or if they contain another text.

    At a gap the label is split at white space, which is in no part. Pieces that overlap can share characters.
    No part is empty. spaced: whether white space is between words; if not, gaps can be anywhere in the text.
    """
    distances = [edit_distances(label, piece.text) for piece in pieces]
    letters, read = "".join(label.split()), "".join("".join(piece.text.split()) for piece in pieces)
    weight = _edit_weight(float(edit_distances(letters, read, starts=1)[0, -1]) / max(1, len(letters)))
    after, penalty = _starts_after(label, _INSIDE_WORD if spaced else 0.0)
    is_end = np.array([at > 0 and not label[at - 1].isspace() for at in range(len(label) + 1)])
    is_text = np.array([*(not character.isspace() for character in label), False])

    before = np.full(len(label) + 1, np.inf)  # the cost of all pieces so far, by the start of the next part
    before[_first_text(label)] = 0.0
    choices: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    following = [*(piece.overlaps for piece in pieces[1:]), False]
    for piece, distance, shares in zip(pieces, distances, following, strict=True):
        cost = weight * distance + _misplacement(places.starts, piece.start, places)[:, None]
        cost[:, ~is_end] = np.inf
        cost += _misplacement(places.ends, piece.end, places)
        cost[np.tri(len(label) + 1, dtype=np.bool_)] = np.inf
        sums = before[:, None] + cost
        start_of = np.argmin(sums, axis=0)
        total = np.min(sums, axis=0)
        before = np.full(len(label) + 1, np.inf)
        end_before = np.zeros(len(label) + 1, dtype=np.int64)
        for end in np.flatnonzero(np.isfinite(total)).tolist():
            nexts = [int(after[end])]
            if shares:
                nexts += [at for at in range(int(start_of[end]) + 1, end) if is_text[at]]
            extra = 0.0 if shares else float(penalty[end])
            for start in nexts:
                if total[end] + extra < before[start]:
                    before[start], end_before[start] = total[end] + extra, end
        choices.append((start_of, end_before))

    end = max((at for at in range(len(label) + 1) if is_end[at]), default=0)
    if not pieces or not math.isfinite(total[end]):
        return None
    spans: list[tuple[int, int]] = []
    for start_of, end_before in reversed(choices):
        if spans:
            end = int(end_before[spans[-1][0]])
        spans.append((int(start_of[end]), end))
    spans.reverse()
    wrong = sum(float(distance[span]) for distance, span in zip(distances, spans, strict=True))
    rate = wrong / sum(end - start for start, end in spans)
    confidence = sum(piece.confidence for piece in pieces) / len(pieces)
    misplaced = _mean_misplacement(places, pieces, spans)
    if (rate > _WRONG and confidence > _CONFIDENT) or (rate > _UNCLEAR and misplaced > _MISPLACED):
        return None
    return Split(tuple(spans), rate)


def edit_distances(label: str, text: str, *, starts: int | None = None) -> Costs:
    """(L + 1, L + 1): the number of edits that turn label[start:end] into ``text``; 0 where the end is before the start.

    starts: compute only so many rows, the first ones.
    """
    length, steps = len(label), np.arange(len(text) + 1)
    starts = length + 1 if starts is None else starts
    letters = np.array([ord(character) for character in text], dtype=np.int64)
    found = np.zeros((starts, length + 1))
    rows = np.tile(steps, (starts, 1))  # by start: the edits from label[start:end] to each beginning of the text
    found[0, 0] = len(text)
    for end, character in enumerate(label, 1):
        old = rows[:end]
        new = old + 1
        new[:, 1:] = np.minimum(new[:, 1:], old[:, :-1] + (letters != ord(character)))
        # An insertion costs one per step, so the cheapest way to reach a column is a running minimum.
        rows[:end] = np.minimum.accumulate(new - steps, axis=1) + steps
        found[: end + 1, end] = rows[: end + 1, -1]
    return found


def _edit_weight(error_rate: float) -> float:
    """What an edit costs: log-odds of a right character, and nothing where the reading resembles no text."""
    rate = min(max(error_rate, _SURE), 1 - _SURE)
    return max(0.0, math.log((1 - rate) / rate) + _RESEMBLANCE)


def _misplacement(positions: Costs, at: float, places: Places) -> Costs:
    return np.minimum(np.abs(positions - at) / places.letter, _LARGEST_MISPLACEMENT)


def _mean_misplacement(places: Places, pieces: Sequence[PieceReading], spans: Sequence[tuple[int, int]]) -> float:
    """The mean distance, in letters, of the ends of the parts at cuts from where the line is cut."""
    starts = [abs(places.starts[start] - piece.start) for piece, (start, _) in zip(pieces, spans, strict=True)][1:]
    ends = [abs(places.ends[end] - piece.end) for piece, (_, end) in zip(pieces, spans, strict=True)][:-1]
    return float(sum(starts + ends)) / max(1, len(starts + ends)) / places.letter


def _first_text(label: str) -> int:
    return len(label) - len(label.lstrip())


def _starts_after(label: str, inside: float) -> tuple[NDArray[np.int64], Costs]:
    """(L + 1,) the start of the next part after each end, and the cost of a split there."""
    after = np.arange(len(label) + 1)
    for at in range(len(label) - 1, -1, -1):
        if label[at].isspace():
            after[at] = after[at + 1]
    return after, np.where(after > np.arange(len(label) + 1), 0.0, inside)
