"""The elements of a page: headings, paragraphs, tables, fields, buttons. Each divides itself into strips for a given width.

A strip is what no column break divides, such as a line of text or a row of a table. It knows its height, and draws itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

from render_pages.sheet import Sheet, Style
from vedcore.errors import ConfigError

FAINT = "#9a9a9a"  # edges of boxes and rules of forms


@dataclass(frozen=True)
class Strip:
    """A piece of an element. before, after: the space above and below it, if it does not begin or end a column.

    keeps: it never ends a column.
    """

    height: float
    draw: Callable[[Sheet, float, float], None]
    before: float = 0.0
    after: float = 0.0
    keeps: bool = False
    ends_block: bool = False


class Element(Protocol):
    """A part of a page."""

    def strips(self, width: float, style: Style) -> Iterator[Strip]:
        """The strips of the element from top to bottom, for a column of this width."""


@dataclass(frozen=True)
class Text:
    """A paragraph or a heading. scale: its size in that of the page. tight: no space and no new block after it."""

    text: str
    scale: float = 1.0
    bold: bool = False
    align: Literal["left", "centre", "right"] = "left"
    hang: str = ""  # the mark of an item of a list; the lines after the first begin below its text
    keeps: bool = False
    tight: bool = False

    def strips(self, width: float, style: Style) -> Iterator[Strip]:
        """A strip for each line."""
        own = style.but(size=style.size * self.scale, bold=self.bold or style.bold)
        plain = self.align == "left" and not (self.hang or self.keeps or self.tight)
        justified = plain and own.justified and not own.bold
        first = own.indent * own.size if plain else 0.0
        rest = own.width(self.hang + " ") if self.hang else 0.0
        lines = wrap(f"{self.hang} {self.text}".strip(), width, own, first=first, rest=rest)
        for number, line in enumerate(lines):
            last = number == len(lines) - 1
            inset = rest if number else first
            free = width - inset - own.width(line)
            spread = free / line.count(" ") if justified and not last and " " in line else 0.0
            inset += {"left": 0.0, "centre": free / 2, "right": free}[self.align]
            yield Strip(
                own.line,
                partial(_line, text=line, inset=inset, style=own, spread=spread),
                before=0.5 * own.size if self.keeps and number == 0 else 0.0,
                after=style.gap * style.size if last and not self.tight else 0.0,
                keeps=self.keeps or (number == 0 and len(lines) > 2),
                ends_block=last and not self.tight,
            )


def _line(sheet: Sheet, left: float, top: float, *, text: str, inset: float, style: Style, spread: float) -> None:
    sheet.write(text, left + inset, top, style, spread=spread)


def wrap(text: str, width: float, style: Style, *, first: float = 0.0, rest: float = 0.0) -> list[str]:
    """The lines of a text. first, rest: the indents of the first line and of the others.

    Raises ConfigError if a word is wider than a line.
    """
    lines: list[str] = []
    words: list[str] = []
    for word in text.split():
        room = width - (rest if lines else first)
        if words and style.width(" ".join([*words, word])) > room:
            lines.append(" ".join(words))
            words = []
        words.append(word)
        if len(words) == 1 and style.width(word) > width - rest:
            raise ConfigError(
                f"the word {word!r} is {style.width(word):.0f} dots wide at {style.size:g} dots per em, "
                f"its line has {width - rest:.0f}; use a smaller size or a wider page",
                found=word,
            )
    return [*lines, " ".join(words)]


@dataclass(frozen=True)
class Verbatim:
    """A line that keeps its spaces. tight: no space and no new block after it."""

    text: str
    tight: bool = False

    def strips(self, width: float, style: Style) -> Iterator[Strip]:
        """One strip."""
        fit(self.text, width, style)
        after = 0.0 if self.tight else style.gap * style.size
        yield Strip(style.line, partial(self._draw, style=style), after=after, ends_block=not self.tight)

    def _draw(self, sheet: Sheet, left: float, top: float, *, style: Style) -> None:
        text = self.text.lstrip()
        sheet.write(text, left + style.width(" ") * (len(self.text) - len(text)), top, style)


@dataclass(frozen=True)
class Pair:
    """A line with a text at its left end and one at its right end, such as an article and its price.

    tight: no space and no new block after it.
    """

    left: str
    right: str
    bold: bool = False
    tight: bool = False

    def strips(self, width: float, style: Style) -> Iterator[Strip]:
        """One strip."""
        own = style.but(bold=self.bold or style.bold)
        fit(f"{self.left}   {self.right}", width, own)
        after = 0.0 if self.tight else style.gap * style.size
        yield Strip(own.line, partial(self._draw, width=width, style=own), after=after, ends_block=not self.tight)

    def _draw(self, sheet: Sheet, left: float, top: float, *, width: float, style: Style) -> None:
        sheet.write(self.left, left, top, style)
        sheet.write(self.right, left + width - style.width(self.right), top, style, joins=True)


@dataclass(frozen=True)
class Rule:
    """A line across the column, and the end of a block."""

    dashed: bool = False

    def strips(self, width: float, style: Style) -> Iterator[Strip]:
        """One strip."""
        yield Strip(style.size * 0.9, partial(self._draw, width=width, style=style), ends_block=True)

    def _draw(self, sheet: Sheet, left: float, top: float, *, width: float, style: Style) -> None:
        y, thick, step = top + style.size * 0.4, hair(style), style.size * 0.5
        pieces = int(width / step / 2) if self.dashed else 1
        length = step if self.dashed else width
        for piece in range(pieces):
            x = left + 2 * step * piece
            sheet.stroke([(x, y), (x + length, y)], style.ink, thick)


@dataclass(frozen=True)
class Table:
    """Rows of cells, each on one line. The first row is the head. Columns whose cells are numbers end at their right edge.

    rules: "grid", "rows" (a line below each row), "head" (lines above and below the head, and below the table), "none".
    """

    rows: tuple[tuple[str, ...], ...]
    rules: Literal["grid", "rows", "head", "none"] = "grid"

    def strips(self, width: float, style: Style) -> Iterator[Strip]:
        """A strip for each row."""
        inset = style.size * 0.5
        head = style.but(bold=True)
        natural = [
            max((head if row is self.rows[0] else style).width(row[column]) for row in self.rows) + 2 * inset
            for column in range(len(self.rows[0]))
        ]
        spare = width - sum(natural)
        if spare < 0:
            raise ConfigError(f"the table {self.rows[0]} is {-spare:.0f} dots too wide; use a smaller size")
        widths = [own + spare * own / sum(natural) for own in natural]
        right = [all(_is_number(row[column]) for row in self.rows[1:]) for column in range(len(natural))]
        for number, row in enumerate(self.rows):
            last = number == len(self.rows) - 1
            own = head if number == 0 else style
            yield Strip(
                own.size * 1.75,
                partial(self._draw, number=number, row=row, widths=widths, right=right, style=own),
                before=0.3 * own.size if number == 0 else 0.0,
                after=style.gap * style.size if last else 0.0,
                keeps=number == 0,
                ends_block=last,
            )

    def _draw(
        self,
        sheet: Sheet,
        left: float,
        top: float,
        *,
        number: int,
        row: Sequence[str],
        widths: Sequence[float],
        right: Sequence[bool],
        style: Style,
    ) -> None:
        thick, height, inset = hair(style), style.size * 1.75, style.size * 0.5
        end, bottom, last = left + sum(widths), top + height, number == len(self.rows) - 1
        lines = {"grid": True, "rows": True, "head": number == 0 or last, "none": False}[self.rules]
        if number == 0 and self.rules in ("grid", "head"):
            sheet.stroke([(left, top), (end, top)], style.ink, thick)
        if lines:
            sheet.stroke([(left, bottom), (end, bottom)], style.ink, thick)
        x, joins = left, False
        for column, (text, wide) in enumerate(zip(row, widths, strict=True)):
            if self.rules == "grid":
                sheet.stroke([(x, top), (x, bottom)], style.ink, thick)
            shift = wide - inset - style.width(text) if right[column] else inset
            if text:
                sheet.write(text, x + shift, top + (height - style.line) / 2, style, joins=joins)
                joins = True
            x += wide
        if self.rules == "grid":
            sheet.stroke([(end, top), (end, bottom)], style.ink, thick)


def _is_number(text: str) -> bool:
    return not text or (any(mark.isdigit() for mark in text) and not any(mark.isalpha() for mark in text))


@dataclass(frozen=True)
class Field:
    """A label and a value that was filled in. kind: the value is in a box beside the label or below it, or on a line."""

    label: str
    value: str
    kind: Literal["beside", "below", "lined"] = "beside"


@dataclass(frozen=True)
class Fields:
    """Fields side by side: one row of a form. A single label beside its box has a third of the width."""

    fields: tuple[Field, ...]

    def strips(self, width: float, style: Style) -> Iterator[Strip]:
        """One strip."""
        below = any(field.kind == "below" for field in self.fields)
        height = style.size * (3.6 if below else 2.3)
        yield Strip(height, partial(self._draw, width=width, style=style), after=style.size * 0.25, ends_block=True)

    def _draw(self, sheet: Sheet, left: float, top: float, *, width: float, style: Style) -> None:
        space = style.size * 1.2
        shares = [max(len(field.label) + len(field.value), 12) for field in self.fields]
        free = width - space * (len(shares) - 1)
        x = left
        for number, share in enumerate(shares):
            wide = free * share / sum(shares)
            self._draw_field(sheet, x, top, number, wide, style)
            x += wide + space

    def _draw_field(self, sheet: Sheet, left: float, top: float, number: int, width: float, style: Style) -> None:
        field = self.fields[number]
        alone, size = len(self.fields) == 1, style.size
        filled = style.but(ink=style.accent) if field.kind == "lined" else style
        label = 0.0 if field.kind == "below" else max(style.width(field.label) + size * 0.7, width * alone * 0.3)
        fit(field.value, width - label - size, filled)
        y = top + size * 1.35 if field.kind == "below" else top
        low = y + size * 2
        middle = y + (size * 2 - style.line) / 2
        sheet.write(field.label, left, top if field.kind == "below" else middle, style, joins=number > 0)
        if field.kind == "lined":
            low -= size * 0.25
            sheet.stroke([(left + label, low), (left + width, low)], style.ink, hair(style))
        else:
            sheet.frame((left + label, y, left + width, low), FAINT, hair(style), rounded=size * 0.15)
        if field.value:
            sheet.write(field.value, left + label + size * 0.5, middle, filled, joins=field.kind != "below")


@dataclass(frozen=True)
class Checks:
    """Boxes with labels on one line, some of them ticked. The boxes are not part of the text."""

    choices: tuple[tuple[bool, str], ...]

    def strips(self, width: float, style: Style) -> Iterator[Strip]:
        """One strip."""
        yield Strip(style.size * 2, partial(self._draw, style=style), after=style.size * 0.3, ends_block=True)

    def _draw(self, sheet: Sheet, left: float, top: float, *, style: Style) -> None:
        size, y = style.size, top + style.size * 0.55
        for number, (ticked, label) in enumerate(self.choices):
            side = size * 0.9
            sheet.frame((left, y, left + side, y + side), style.ink, hair(style))
            if ticked:
                tick = [(0.2, 0.5), (0.42, 0.75), (0.82, 0.2)]
                sheet.stroke(
                    [(left + a * side, y + b * side) for a, b in tick],
                    style.accent,
                    max(2 * hair(style), int(size / 8)),
                )
            sheet.write(label, left + size * 1.5, top + (size * 2 - style.line) / 2, style, joins=number > 0)
            left += size * 3.5 + style.width(label)


@dataclass(frozen=True)
class Buttons:
    """Buttons side by side; the first one is filled with the accent."""

    labels: tuple[str, ...]

    def strips(self, width: float, style: Style) -> Iterator[Strip]:
        """One strip."""
        yield Strip(style.size * 2.5, partial(self._draw, style=style), after=style.size * 0.3, ends_block=True)

    def _draw(self, sheet: Sheet, left: float, top: float, *, style: Style) -> None:
        size = style.size
        for number, label in enumerate(self.labels):
            own = style.but(ink="#ffffff", bold=True) if number == 0 else style
            wide = own.width(label) + 2.2 * size
            box = (left, top + size * 0.15, left + wide, top + size * 2.3)
            if number == 0:
                sheet.fill(box, style.accent, rounded=size * 0.3)
            else:
                sheet.frame(box, FAINT, hair(style), rounded=size * 0.3)
            sheet.write(label, left + 1.1 * size, top + (size * 2.45 - own.line) / 2, own, joins=number > 0)
            left += wide + size


@dataclass(frozen=True)
class Items:
    """Short texts side by side with wide gaps, such as the menus of a window."""

    labels: tuple[str, ...]

    def strips(self, width: float, style: Style) -> Iterator[Strip]:
        """One strip."""
        yield Strip(style.line, partial(self._draw, style=style), ends_block=True)

    def _draw(self, sheet: Sheet, left: float, top: float, *, style: Style) -> None:
        for number, label in enumerate(self.labels):
            sheet.write(label, left, top, style, joins=number > 0)
            left += style.width(label) + 1.6 * style.size


@dataclass(frozen=True)
class Chosen:
    """The chosen line of a list, on a band of the accent."""

    text: str

    def strips(self, width: float, style: Style) -> Iterator[Strip]:
        """One strip."""
        yield Strip(style.line, partial(self._draw, width=width, style=style.but(ink="#ffffff")))

    def _draw(self, sheet: Sheet, left: float, top: float, *, width: float, style: Style) -> None:
        margin = style.size * 0.5
        sheet.fill((left - margin, top, left + width + margin, top + style.line), style.accent)
        sheet.write(self.text, left, top, style)


@dataclass(frozen=True)
class Panel:
    """A paragraph in light letters on a dark panel."""

    text: str

    def strips(self, width: float, style: Style) -> Iterator[Strip]:
        """One strip."""
        light, margin = style.but(ink="#f4f4f4", gap=0.0, justified=False, indent=0.0), style.size * 0.8
        lines = list(Text(self.text).strips(width - 2 * margin, light))
        height = sum(line.height for line in lines) + 2 * margin
        draw = partial(self._draw, lines=lines, size=(width, height), margin=margin, colour=style.accent)
        yield Strip(height, draw, after=style.gap * style.size, ends_block=True)

    def _draw(
        self,
        sheet: Sheet,
        left: float,
        top: float,
        *,
        lines: Sequence[Strip],
        size: tuple[float, float],
        margin: float,
        colour: str,
    ) -> None:
        sheet.fill((left, top, left + size[0], top + size[1]), colour)
        y = top + margin
        for line in lines:
            line.draw(sheet, left + margin, y)
            y += line.height


def fit(text: str, width: float, style: Style) -> None:
    """Raises ConfigError if a text is wider than ``width``."""
    if style.width(text) > width:
        raise ConfigError(f"{text!r} needs {style.width(text):.0f} dots, {width:.0f} are there; use a smaller size")


def hair(style: Style) -> int:
    """The width of a thin line in dots: a pixel, or more for large letters."""
    return max(style.dot, round(style.size / 24))
