"""What can be wrong with a sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from vedcore.text import describe_unknown


class Fault(StrEnum):
    """The kinds of problems. The values are in the log of a run."""

    missing_image = "missing image"
    unreadable_image = "unreadable image"
    no_label = "no label"
    empty_label = "empty label"
    two_labels = "two labels"
    bad_row = "bad row"
    bad_file = "bad label file"
    no_outline = "no outline"
    bad_sample = "bad sample"
    unwritable = "unwritable character"
    special_token = "special token"
    too_long = "label too long"
    not_aligned = "label not aligned"


@dataclass(frozen=True, slots=True)
class Problem:
    """A sample that cannot be used.

    source: the sample, or the line of a label file. detail: what was found. ``str(problem)`` is one printable line.
    characters: those of the label that the tokenizer cannot write, each as often as it occurs.
    """

    fault: Fault
    source: str
    detail: str
    characters: str = ""

    def __str__(self) -> str:
        return printable(f"{self.source}: {self.fault} ({self.detail})")


def unknown_characters(problems: Iterable[Problem]) -> str:
    """The characters that the tokenizer cannot write, with their counts and what helps; an empty string without any."""
    counts = Counter(character for problem in problems for character in problem.characters)
    return "; ".join(describe_unknown(counts)) if counts else ""


def printable(text: str) -> str:
    """``text`` with an escape for each character that is not printable."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def counted(number: int, noun: str) -> str:
    """A number with its noun: ``1 sample``, ``2 samples``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
