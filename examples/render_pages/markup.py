"""The markup of the texts in ``text/``: what each part of a text is, to become elements of a page.

    # Title                        ## a smaller heading, ### a heading of the size of the text
    Words over some lines.         a paragraph; a blank line ends it
    = Words                        centred; => at the right edge
    - Words                        an item of a list; so are 1. Words and [1] Words
    {2.5} Words                    2.5 times the size; {2.5 bold} also in bold; before =, too
    Words >> 3.99                  texts at both ends of a line; >>! in bold
    ---                            a rule; - - - a dashed one
    | Cell | Cell |                a row of a table; rules are "grid", or what [rows], [head] or [none] above it says
    Label: [value]                 a field with a box beside it; ^value^ a box below, _value_ a line; ;; between fields
    [x] Label ;; [ ] Label         boxes to tick
    (Save) (Cancel)                buttons
    File ;; Edit ;; View           short texts with wide gaps
    * Words                        the chosen line of a list
    ! Words                        a dark panel
    @prose 3 5                     paragraphs 3 to 5 of the prose of the rendered lines that are held out from training
    %% side                        the part of the page that what follows belongs to; "page" until then

A line without a mark continues the one above it, except in parts that are ``verbatim``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Literal

from render_pages.elements import (
    Buttons,
    Checks,
    Chosen,
    Element,
    Field,
    Fields,
    Items,
    Pair,
    Panel,
    Rule,
    Table,
    Text,
    Verbatim,
)
from vedcore.errors import ConfigError

PROSE = Path(__file__).parents[1] / "render_lines" / "text" / "held_out_prose.txt"
HEADINGS = {"#": 1.8, "##": 1.3, "###": 1.0}
RULES: dict[str, Literal["grid", "rows", "head", "none"]] = {
    "[grid]": "grid",
    "[rows]": "rows",
    "[head]": "head",
    "[none]": "none",
}
KINDS: dict[str, Literal["beside", "below", "lined"]] = {"[": "beside", "^": "below", "_": "lined"}
_SIZED = re.compile(r"\{([\d.]+)( bold)?\} (.+)")
_FIELD = re.compile(r"(.+?:?) ([\[_^])(.*)[\]_^]")
_PAIR = re.compile(r"(.+) >>(!?) (.+)")
_BUTTONS = re.compile(r"\((.*)\)")
_TICK = re.compile(r"\[([ x])\] (.+)")
_ITEM = re.compile(r"(-|\d+\.|\[\d+\]) (.+)")


def parse(source: str, verbatim: Collection[str] = ()) -> dict[str, list[Element]]:
    """The elements of each part of a text. verbatim: the names of parts whose lines are not joined to paragraphs.

    Raises ConfigError if the text has characters that are not printable ASCII.
    """
    odd = sorted({mark for mark in source if not (mark == "\n" or " " <= mark <= "~")})
    if odd:
        raise ConfigError(f"the text has {odd}; it must be printable ASCII", found=odd)
    parts: dict[str, list[Element]] = {}
    name = "page"
    for chunk in re.split(r"\n{2,}", source.strip()):
        lines = chunk.split("\n")
        while lines and lines[0].startswith("%% "):
            name = lines.pop(0)[3:]
        parts.setdefault(name, []).extend(_elements(lines, name in verbatim))
    return parts


def _elements(lines: list[str], verbatim: bool) -> Iterator[Element]:
    """The elements of lines without a blank line between them."""
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines if line.startswith("| ")]
    if rows:
        yield Table(tuple(rows), RULES.get(lines[0], "grid"))
        return
    joined = lines if verbatim else _joined(lines)
    for number, line in enumerate(joined):
        tight = number < len(joined) - 1
        if line.startswith("@prose "):
            first, final = map(int, line.split()[1:])
            yield from (Text(" ".join(paragraph.split())) for paragraph in _prose()[first : final + 1])
        elif element := _marked(line, tight):
            yield element
        else:
            yield Verbatim(line, tight) if verbatim else Text(line)


def _joined(lines: list[str]) -> list[str]:
    """The lines, after each one those that continue it: lines without a mark."""
    joined: list[str] = []
    for line in lines:
        if joined and not line.startswith("@") and _marked(line, False) is None:
            joined[-1] += f" {line}"
        else:
            joined.append(line)
    return joined


def _marked(line: str, tight: bool) -> Element | None:
    """The element of a line with a mark, None if it has none. tight: another line of the same block follows."""
    mark, _, rest = line.partition(" ")
    element: Element | None = None
    if mark in HEADINGS:
        element = Text(rest, scale=HEADINGS[mark], bold=True, keeps=True)
    elif line in ("---", "- - -"):
        element = Rule(dashed=line == "- - -")
    elif mark == "*":
        element = Chosen(rest)
    elif mark == "!":
        element = Panel(rest)
    elif found := _PAIR.fullmatch(line):
        element = Pair(found[1], found[3], bold=found[2] == "!", tight=tight)
    elif found := _ITEM.fullmatch(line):
        element = Text(found[2], hang=found[1], tight=tight)
    elif found := _BUTTONS.fullmatch(line):
        element = Buttons(tuple(found[1].split(") (")))
    return element or _sized(line, tight) or _fields(line.split(" ;; "))


def _sized(line: str, tight: bool) -> Text | None:
    """A line with a size or an alignment."""
    sized = _SIZED.fullmatch(line)
    changes: dict[str, Any] = {}
    if sized:
        changes = {"scale": float(sized[1]), "bold": bool(sized[2]), "keeps": bool(sized[2])}
    text = sized[3] if sized else line
    for mark, align in (("= ", "centre"), ("=> ", "right")):
        if text.startswith(mark):
            text = text.removeprefix(mark)
            changes["align"] = align
    return Text(text, tight=tight, **changes) if changes else None


def _fields(pieces: list[str]) -> Element | None:
    """Fields, boxes to tick or items; None for other text."""
    fields = [_FIELD.fullmatch(piece) for piece in pieces]
    ticks = [_TICK.fullmatch(piece) for piece in pieces]
    if all(fields):
        return Fields(tuple(Field(found[1], found[3].strip(), KINDS[found[2]]) for found in fields if found))
    if all(ticks):
        return Checks(tuple((found[1] == "x", found[2]) for found in ticks if found))
    return Items(tuple(pieces)) if len(pieces) > 1 else None


def _prose() -> list[str]:
    return PROSE.read_text(encoding="ascii").split("\n\n")
