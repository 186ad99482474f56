"""Where invisible text is on a page of a PDF: each word of a reading at its place in the picture."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from vedcore.contract.regions import Point
from vedcore.documents.invisible_font import DESCENT, EM, Codes
from vedcore.documents.read_page import ReadLine

Corners = Sequence[Point]
"""The places on the page, in points, of the upper left, the upper right and the lower left corner of the picture."""

_LEAST = 0.05
"""Points. No word is lower or narrower, so that no matrix is singular."""


class PageReading(Protocol):
    """What was read on a page, such as a ``Reading``."""

    @property
    def text(self) -> str:
        """The whole text, which is placed if there are no lines."""

    @property
    def lines(self) -> Sequence[ReadLine]:
        """Its lines in reading order. A line without words is placed as a whole."""

    @property
    def size(self) -> tuple[int, int] | None:
        """(width, height) of the picture in pixels."""


@dataclass(frozen=True, slots=True)
class PlacedWord:
    """A word in the terms of PDF: the size of its font in points, the matrix of its text, and the codes of its characters."""

    size: float
    matrix: tuple[float, float, float, float, float, float]
    codes: list[int]


def placed_words(reading: PageReading, corners: Corners, codes: Codes) -> list[PlacedWord]:
    """The words of a reading on the page. A reading without lines is placed as its lines of text, from top to bottom.

    A word is as long and as high as its polygon, and turned like it; a space after it separates it from the next one.
    Raises ValueError for a reading with text that has no size.
    """
    words = list(_words(reading))
    if not words:
        return []
    if reading.size is None or min(reading.size) < 1:
        raise ValueError("the reading has no size")
    width, height = reading.size
    (left, top), right, low = corners
    across = (right[0] - left) / width, (right[1] - top) / width
    down = (low[0] - left) / height, (low[1] - top) / height

    def place(point: Point) -> Point:
        x, y = point
        return left + across[0] * x + down[0] * y, top + across[1] * x + down[1] * y

    return [_placed([place(point) for point in polygon], text, codes, last) for polygon, text, last in words]


def _words(reading: PageReading) -> Iterator[tuple[Sequence[Point], str, bool]]:
    """The polygon and the text of each word, and whether it is the last one of its line."""
    for line in reading.lines:
        parts = [(word.polygon, _clean(word.text)) for word in line.words or (line,)]
        parts = [(polygon, text) for polygon, text in parts if text and len(polygon) == 4]
        for number, (polygon, text) in enumerate(parts, 1):
            yield polygon, text, number == len(parts)
    if not reading.lines:
        texts = [text for text in map(_clean, reading.text.splitlines()) if text]
        width, height = reading.size or (0, 0)
        for number, text in enumerate(texts):
            top, low = height * number / len(texts), height * (number + 1) / len(texts)
            yield ((0, top), (width, top), (width, low), (0, low)), text, True


def _placed(polygon: Sequence[Point], text: str, codes: Codes, last: bool) -> PlacedWord:
    upper_left, _, lower_right, lower_left = polygon
    along = lower_right[0] - lower_left[0], lower_right[1] - lower_left[1]
    up = upper_left[0] - lower_left[0], upper_left[1] - lower_left[1]
    size, length = math.hypot(*up), math.hypot(*along)
    if size < _LEAST:
        up, size = (0.0, _LEAST), _LEAST
    if length < _LEAST:
        along = up[1] / size * _LEAST, -up[0] / size * _LEAST
    rise, step = -DESCENT / EM, (along[0] / len(text), along[1] / len(text))
    start = lower_left[0] + rise * up[0], lower_left[1] + rise * up[1]
    if any(unicodedata.bidirectional(mark) in ("R", "AL") for mark in text):
        # Viewers expect the characters of text from right to left as they are seen, from left to right.
        text = text[::-1] if last else " " + text[::-1]
        start = start if last else (start[0] - step[0], start[1] - step[1])
    elif not last:
        text += " "
    matrix = (step[0] / size, step[1] / size, up[0] / size, up[1] / size, *start)
    return PlacedWord(size, matrix, codes.of(text))


def _clean(text: str) -> str:
    """The text without characters that cannot be shown, on one line."""
    return " ".join("".join(mark if mark.isprintable() else " " for mark in text).split())
