"""How far a text is from the text of the page: characters wrong, and whether its lines are in order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from rapidfuzz import fuzz
from rapidfuzz.distance import Levenshtein

SHORTEST = 20  # characters of a line that is found by its text: shorter ones may occur twice
ALIKE = 80  # percent; a line that is less similar to each part of the text is not in it


@dataclass(frozen=True)
class Score:
    """The edits that turn a text into the reference, and the length of the reference."""

    edits: int = 0
    length: int = 0

    @property
    def rate(self) -> float:
        """The error rate in percent. It can be above 100."""
        return 100 * self.edits / max(self.length, 1)

    def __add__(self, other: Score) -> Score:
        return Score(self.edits + other.edits, self.length + other.length)


def total(scores: Iterable[Score]) -> Score:
    """The score of several texts as if they were one."""
    return sum(scores, Score())


def folded(text: str) -> str:
    """The text with single spaces for all white space."""
    return " ".join(text.split())


def score(reference: str, text: str) -> Score:
    """The score of a text: order counts, the kind of white space does not."""
    wanted = folded(reference)
    return Score(Levenshtein.distance(wanted, folded(text)), len(wanted))


def in_order(reference: str, text: str) -> bool:
    """Whether the longer lines of the reference follow each other in the text. Half of them must be found."""
    lines = [folded(line) for line in reference.splitlines() if len(folded(line)) >= SHORTEST]
    whole = folded(text)
    found = [fuzz.partial_ratio_alignment(line, whole, score_cutoff=ALIKE) for line in lines]
    starts = [place.dest_start for place in found if place is not None]
    return 2 * len(starts) > len(lines) and all(first < second for first, second in pairwise(starts))
