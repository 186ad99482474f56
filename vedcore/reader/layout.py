"""How the texts of the rows of an image become its reading.

A model reads rows: a whole image, a line, or a piece of a line that was cut. ``finding`` finds the rows of an image and the
``Layout`` that puts their texts together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from vedcore.contract.regions import Polygon
from vedcore.reader.merging import Overlap, merge
from vedcore.reader.polygons import bounding_box, part_of
from vedcore.reader.reading import Block, Line, Piece, Reading, Word
from vedcore.reader.words import InkGaps

T = TypeVar("T")

NO_TEXT = "no text"
"""The stop reason of an image in which no text was found."""


@dataclass(frozen=True, slots=True)
class RowText:
    """What the model generated for one row. The fields have the meaning that they have in ``Reading``."""

    text: str
    confidence: float
    token_ids: tuple[int, ...]
    token_logprobs: tuple[float, ...]
    stop_reason: str


@dataclass(frozen=True, slots=True)
class OpenedImage:
    """What is known about an image before its text is. The fields have the meaning that they have in ``Reading``."""

    source: Any
    size: tuple[int, int]
    dpi: float | None = None
    page: int | None = None
    warnings: tuple[str, ...] = ()


class Layout(Protocol):
    """How the rows of one image belong together. It keeps no pixels, since it lives until all rows are read."""

    def join(self, texts: Sequence[str], *, complete: bool = True) -> str:
        """The text of the image so far, from the texts of its first rows; it is the beginning of what later calls return.

        complete: whether the last of these texts is, as all others are.
        """
        ...

    def combine(self, rows: Sequence[RowText], image: OpenedImage) -> Reading:
        """The reading of the image, from the texts of all rows."""
        ...


class WholeImage:
    """The layout of an image that the model reads at once. It has no regions."""

    def join(self, texts: Sequence[str], *, complete: bool = True) -> str:
        """The text of the row."""
        return "".join(texts)

    def combine(self, rows: Sequence[RowText], image: OpenedImage) -> Reading:
        """The reading of the row."""
        (row,) = rows
        return _reading(image, row, layout="whole")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a line: its sides as fractions of the line's width and height."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a line with a gap on both sides: one row, or several that overlap because a word was cut.

    overlaps: of each row with the next. gaps: between the words of the stretch, as fractions of its width.
    """

    rows: tuple[Row, ...]
    gaps: InkGaps
    overlaps: tuple[Overlap, ...] = ()


@dataclass(frozen=True, slots=True)
class LineLayout:
    """A line in an image. separator: joins the texts of its stretches. cut: whether it is cut into several rows."""

    polygon: Polygon
    stretches: tuple[Stretch, ...]
    separator: str
    cut: bool

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows of all stretches."""
        return tuple(row for stretch in self.stretches for row in stretch.rows)

    def join(self, texts: Sequence[str], *, complete: bool = True) -> str:
        """The text of the line so far: the stretches with the separator between them."""
        return self.separator.join(self._merged(texts, complete))

    def combine(self, texts: Sequence[RowText]) -> Line:
        """The line, from the texts of all rows."""
        sides = [part_of(self.polygon, row.left, row.top, row.right, row.bottom) for row in self.rows]
        pieces = [Piece(bounding_box(side), text.text) for side, text in zip(sides, texts, strict=True)]
        merged = self._merged([text.text for text in texts], complete=True)
        joined = _joined(texts, self.separator.join(merged))
        return Line(
            polygon=self.polygon,
            text=joined.text,
            confidence=joined.confidence,
            token_ids=joined.token_ids,
            token_logprobs=joined.token_logprobs,
            stop_reason=joined.stop_reason,
            words=tuple(
                word
                for stretch, text in zip(self.stretches, merged, strict=True)
                for word in self._words(stretch, text)
            ),
            pieces=tuple(pieces) if self.cut else (),
        )

    def _merged(self, texts: Sequence[str], complete: bool) -> list[str]:
        """The text of each stretch whose first row has one."""
        found = []
        for stretch in self.stretches:
            own, texts = texts[: len(stretch.rows)], texts[len(stretch.rows) :]
            if own:
                found.append(merge(own, stretch.overlaps, complete=complete or bool(texts)))
        return found

    def _words(self, stretch: Stretch, text: str) -> Iterable[Word]:
        """The words of a stretch. They have the height of the line, so that those of one line stand in a row."""
        first, width = stretch.rows[0].left, stretch.rows[-1].right - stretch.rows[0].left
        for word, start, end in stretch.gaps.place(text):
            yield Word(part_of(self.polygon, first + start * width, 0, first + end * width, 1), word)


class SingleLine:
    """The layout of an image that is one line."""

    def __init__(self, line: LineLayout) -> None:
        self._line = line

    def join(self, texts: Sequence[str], *, complete: bool = True) -> str:
        """The text of the line so far."""
        return self._line.join(texts, complete=complete)

    def combine(self, rows: Sequence[RowText], image: OpenedImage) -> Reading:
        """The reading of the line."""
        line = self._line.combine(rows)
        return _reading(image, line, layout="line", pieces=line.pieces, blocks=(Block(line.polygon, (line,)),))


class PageLayout:
    """The layout of a page: blocks of lines. It may have none."""

    def __init__(self, blocks: Sequence[tuple[Polygon, Sequence[LineLayout]]]) -> None:
        self._blocks = blocks

    def join(self, texts: Sequence[str], *, complete: bool = True) -> str:
        """A newline between the lines of a block, a blank line between blocks."""
        remaining = len(texts)
        blocks = []
        for block in self._distribute(texts):
            lines = []
            for line, part in block:
                remaining -= len(part)
                if part:
                    lines.append(line.join(part, complete=complete or remaining > 0))
            blocks.append(lines)
        return "\n\n".join("\n".join(lines) for lines in blocks if lines)

    def combine(self, rows: Sequence[RowText], image: OpenedImage) -> Reading:
        """The reading of the page, with its blocks."""
        blocks = tuple(
            Block(polygon, tuple(line.combine(part) for line, part in block))
            for (polygon, _), block in zip(self._blocks, self._distribute(rows), strict=True)
        )
        lines = [line for block in blocks for line in block.lines]
        return _reading(image, _joined(lines, self.join([row.text for row in rows])), layout="page", blocks=blocks)

    def _distribute(self, values: Sequence[T]) -> Iterator[list[tuple[LineLayout, Sequence[T]]]]:
        """For each block, its lines with the values of their rows; ``values`` are those of the first rows, or of all."""
        start = 0
        for _, lines in self._blocks:
            parts = []
            for line in lines:
                parts.append((line, values[start : start + len(line.rows)]))
                start += len(line.rows)
            yield parts


def _joined(parts: Sequence[RowText | Line], text: str) -> RowText:
    """Several parts as one: all tokens, and the first stop reason other than "eos"."""
    if len(parts) == 1:
        (part,) = parts
        return RowText(text, part.confidence, part.token_ids, part.token_logprobs, part.stop_reason)
    logprobs = tuple(value for part in parts for value in part.token_logprobs)
    return RowText(
        text,
        confidence=float(np.exp(np.mean(logprobs))) if logprobs else 0.0,
        token_ids=tuple(token for part in parts for token in part.token_ids),
        token_logprobs=logprobs,
        stop_reason=next(
            (part.stop_reason for part in parts if part.stop_reason != "eos"), "eos" if parts else NO_TEXT
        ),
    )


def _reading(image: OpenedImage, text: RowText | Line, **regions: Any) -> Reading:
    return Reading(
        text=text.text,
        confidence=text.confidence,
        token_ids=text.token_ids,
        token_logprobs=text.token_logprobs,
        stop_reason=text.stop_reason,
        source=image.source,
        size=image.size,
        dpi=image.dpi,
        page=image.page,
        warnings=image.warnings,
        **regions,
    )
