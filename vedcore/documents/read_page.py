"""A page that was read, as hOCR and ALTO describe it: with a number, and a box for each block, line and word.

Boxes are (left, top, right, bottom) in whole pixels of the image, right and bottom exclusive, inside the page and not empty.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Protocol

from vedcore.contract.regions import Point, Polygon
from vedcore.errors import InputError

Box = tuple[int, int, int, int]

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_REST = 0.2  # of the height of a line: letters rest so far above its lower side


class ReadWord(Protocol):
    """A word."""

    @property
    def polygon(self) -> Polygon:
        """Four corners in pixels, clockwise from the upper left one as the text is read."""

    @property
    def text(self) -> str:
        """Its characters."""


class ReadLine(ReadWord, Protocol):
    """A line of text."""

    @property
    def confidence(self) -> float:
        """0 to 1."""

    @property
    def words(self) -> Sequence[ReadWord]:
        """Its words in reading order; may be empty although the line has text."""


class ReadBlock(Protocol):
    """Lines that belong together."""

    @property
    def polygon(self) -> Polygon:
        """At least three corners in pixels."""

    @property
    def lines(self) -> Sequence[ReadLine]:
        """Its lines in reading order."""


class ReadPage(Protocol):
    """What was read on a page, such as a ``Reading``."""

    @property
    def text(self) -> str:
        """The whole text."""

    @property
    def confidence(self) -> float:
        """0 to 1."""

    @property
    def blocks(self) -> Sequence[ReadBlock]:
        """Its blocks in reading order; empty if the page was read whole."""

    @property
    def size(self) -> tuple[int, int] | None:
        """(width, height) of the image in pixels."""

    @property
    def dpi(self) -> float | None:
        """Its resolution, if it is known."""

    @property
    def page(self) -> int | None:
        """Its number in the document, from 1."""


@dataclass(frozen=True, slots=True)
class PlacedWord:
    """A word and its box. The text is not empty."""

    text: str
    box: Box


@dataclass(frozen=True, slots=True)
class PlacedLine:
    """A line with at least one word.

    angle: 0, 90, 180 or 270 degrees, by which its text is turned counter-clockwise. baseline: its start and end, estimated.
    spaces: the boxes between its words, one fewer than words.
    """

    polygon: Polygon
    box: Box
    angle: int
    baseline: tuple[Point, Point]
    confidence: float
    words: tuple[PlacedWord, ...]
    spaces: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class PlacedBlock:
    """A block with at least one line."""

    box: Box
    lines: tuple[PlacedLine, ...]


@dataclass(frozen=True, slots=True)
class PlacedPage:
    """A page. Without text it has no blocks."""

    number: int
    size: tuple[int, int]
    dpi: float | None
    blocks: tuple[PlacedBlock, ...]


def place_pages(pages: Iterable[ReadPage]) -> Iterator[PlacedPage]:
    """Each page, with the boxes of its text.

    A page without a number has the number after that of the page before it. A page that was read whole is one block with one
    line. A line without words has those of its text, placed by their lengths. Lines without text are left out.
    Raises InputError if two pages have the same number.
    """
    numbers: set[int] = set()
    number = 0
    for page in pages:
        number = number + 1 if page.page is None else page.page
        if number in numbers:
            raise InputError(
                f"page {number} of the document occurs twice; pass each page once, or pages without numbers",
                field="page",
                expected="different numbers",
                found=number,
            )
        numbers.add(number)
        size = _size(page)
        blocks = tuple(_placed_block(block.polygon, block.lines, size) for block in page.blocks)
        if not page.blocks:
            line = _WholePage(_rectangle(size), page.text, page.confidence)
            blocks = (_placed_block(line.polygon, (line,), size),)
        yield PlacedPage(number, size, page.dpi, tuple(block for block in blocks if block.lines))


def xml_text(text: str) -> str:
    """``text`` with U+FFFD for each character that XML does not allow, such as a control character or half of a surrogate."""
    return _NOT_XML.sub("\ufffd", text)


@dataclass(frozen=True, slots=True)
class _WholePage:
    """The only line of a page that was read whole."""

    polygon: Polygon
    text: str
    confidence: float
    words: tuple[ReadWord, ...] = ()


@dataclass(frozen=True, slots=True)
class _Word:
    polygon: Polygon
    text: str


def _size(page: ReadPage) -> tuple[int, int]:
    """The size of the page; where it is not known, that of its text."""
    if page.size is not None:
        return page.size
    lines = (line.polygon for block in page.blocks for line in block.lines)
    points = list(chain(*(block.polygon for block in page.blocks), *lines))
    return (
        max([1, *(math.ceil(x) for x, _ in points)]),
        max([1, *(math.ceil(y) for _, y in points)]),
    )


def _rectangle(size: tuple[int, int]) -> Polygon:
    width, height = map(float, size)
    return ((0.0, 0.0), (width, 0.0), (width, height), (0.0, height))


def _placed_block(polygon: Polygon, lines: Sequence[ReadLine], size: tuple[int, int]) -> PlacedBlock:
    placed = (_placed_line(line, size) for line in lines)
    return PlacedBlock(_box(polygon, size), tuple(line for line in placed if line is not None))


def _placed_line(line: ReadLine, size: tuple[int, int]) -> PlacedLine | None:
    """The line; None if it has no text."""
    words = [word for word in line.words if word.text.strip()] or _words_by_length(line)
    if not words:
        return None
    upper_left, upper_right, lower_right, lower_left = line.polygon
    across, down = upper_right[0] - upper_left[0], upper_right[1] - upper_left[1]
    between = (
        (before.polygon[1], after.polygon[0], after.polygon[3], before.polygon[2]) for before, after in pairwise(words)
    )
    return PlacedLine(
        line.polygon,
        _box(line.polygon, size),
        round(math.degrees(math.atan2(-down, across)) / 90) % 4 * 90,
        (_towards(lower_left, upper_left, _REST), _towards(lower_right, upper_right, _REST)),
        line.confidence,
        tuple(PlacedWord(xml_text(" ".join(word.text.split())), _box(word.polygon, size)) for word in words),
        tuple(_box(polygon, size) for polygon in between),
    )


def _words_by_length(line: ReadLine) -> list[ReadWord]:
    """The words of the text of a line, along its polygon by their numbers of characters, with one between two words."""
    words = line.text.split()
    upper_left, upper_right, lower_right, lower_left = line.polygon
    total, at = len(" ".join(words)), 0
    placed: list[ReadWord] = []
    for word in words:
        start, end = at / total, (at + len(word)) / total
        polygon = (
            _towards(upper_left, upper_right, start),
            _towards(upper_left, upper_right, end),
            _towards(lower_left, lower_right, end),
            _towards(lower_left, lower_right, start),
        )
        placed.append(_Word(polygon, word))
        at += len(word) + 1
    return placed


def _towards(first: Point, second: Point, share: float) -> Point:
    return (first[0] + share * (second[0] - first[0]), first[1] + share * (second[1] - first[1]))


def _box(polygon: Polygon, size: tuple[int, int]) -> Box:
    xs, ys = zip(*polygon, strict=True)
    left, right = _side(min(xs), max(xs), size[0])
    top, bottom = _side(min(ys), max(ys), size[1])
    return (left, top, right, bottom)


def _side(least: float, most: float, length: int) -> tuple[int, int]:
    """The pixels from ``least`` to ``most``: at least one, and inside a page of this length."""
    # Rounded first, so that 12.000000001 from an interpolation does not add a pixel.
    start = min(max(math.floor(round(least, 3)), 0), length - 1)
    return start, min(max(math.ceil(round(most, 3)), start + 1), length)
