"""A page of the set: its record in ``pages.toml``, and how it is laid out and drawn."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from PIL import Image

from render_pages.elements import Element, Strip
from render_pages.faces import Family
from render_pages.look import Look, finished
from render_pages.markup import parse
from render_pages.sheet import Box, Sheet, Style
from vedcore.errors import ConfigError

HERE = Path(__file__).parent
SET = HERE / "pages.toml"
SEED = 20261
VERBATIM = ("title", "side")  # parts whose lines are not joined to paragraphs
PANES = ("title", "menu", "side", "main", "status")  # of a screen, in reading order

Theme = Mapping[str, tuple[str, str]]
"""The ink and the paper of each pane of a screen."""


@dataclass(frozen=True)
class Page:
    """A page. Lengths are in pixels.

    text: the name of a file in ``text/``. name: that of the page's own files, in place of its number and kind.
    width, height: of the paper; without a height it is as high as its text. size: pixels per em.
    columns: of the part "columns" of the text; ruled: with a line between them.
    continues: the text goes on on a next page, so what does not fit is left out. verbatim: the text has no paragraphs.
    sharp: drawn on the grid of pixels, as a screen does, and not at three times the size.
    style: other fields of ``Style``. theme: the colours of the panes of a screen.
    """

    kind: str
    text: str
    family: str
    size: float
    width: int
    name: str = ""
    height: int = 0
    margin: int = 60
    columns: int = 2
    ruled: bool = False
    continues: bool = False
    sharp: bool = False
    verbatim: bool = False
    style: Mapping[str, Any] = field(default_factory=dict)
    look: Look = field(default_factory=Look)
    theme: Theme | None = None

    @property
    def dot(self) -> int:
        """Dots per pixel while the page is drawn."""
        return 1 if self.sharp else 3


def load_pages(path: Path = SET) -> list[Page]:
    """The pages of a toml file, in its order."""
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    themes = {
        name: {pane: tuple(pair) for pane, pair in theme.items()} for name, theme in tables.get("theme", {}).items()
    }
    pages = []
    for table in tables["page"]:
        look, theme = Look(**table.pop("look", {})), themes.get(table.pop("theme", ""))
        pages.append(Page(**table, look=look, theme=theme))
    return pages


def render(page: Page, family: Family, *, number: int = 0, source: str | None = None) -> tuple[Image.Image, str]:
    """The picture of a page and its text. number: decides the noise. source: the text in place of the file's.

    Raises ConfigError if the text does not fit.
    """
    if source is None:
        source = (HERE / "text" / f"{page.text}.txt").read_text(encoding="utf-8")
    verbatim = (*VERBATIM, "page", "main") if page.verbatim else VERBATIM
    parts = parse(source, verbatim)
    style = Style(family, page.size * page.dot, dot=page.dot, **page.style)
    try:
        sheet = _screen(page, parts, style) if page.theme else _print(page, parts, style)
    except ConfigError as error:
        raise ConfigError(f"text/{page.text}.txt: {error}", file=page.text, field="size") from error
    image = finished(sheet.image, page.look, dot=page.dot, paper=style.paper, seed=SEED + number)
    return image, sheet.transcript


def _print(page: Page, parts: Mapping[str, Sequence[Element]], style: Style) -> Sheet:
    """A printed page: the part "page" across it, below it the part "columns", below that the part "foot"."""
    width, margin = page.width * page.dot, page.margin * page.dot
    height = page.height * page.dot or 4 * width
    sheet = Sheet((width, height), style.paper)
    low = height - margin
    top = _flow(sheet, parts.get("page", ()), [(margin, margin, width - margin, low)], style, page.continues)
    if "columns" in parts:
        foot = _strips(parts.get("foot", ()), width - 2 * margin, style)
        foot_top = low - sum(strip.before + strip.height + strip.after for strip in foot) - style.gap * style.size
        space = style.size * 1.8
        wide = (width - 2 * margin - space * (page.columns - 1)) / page.columns
        lefts = [margin + column * (wide + space) for column in range(page.columns)]
        boxes = [(left, top, left + wide, foot_top) for left in lefts]
        bottom = _flow(sheet, parts["columns"], boxes, style, page.continues)
        if page.ruled:
            for left in lefts[1:]:
                sheet.stroke([(left - space / 2, top), (left - space / 2, bottom)], style.ink, page.dot)
        top = bottom
    if "foot" in parts:
        top = _flow(sheet, parts["foot"], [(margin, top, width - margin, low)], style, False)
    if not page.height:
        sheet.image = sheet.image.crop((0, 0, width, round(top + margin)))
    return sheet


def _screen(page: Page, parts: Mapping[str, Sequence[Element]], style: Style) -> Sheet:
    """A window: bars for title and menu at the top and for the status at the bottom, a pane at the side, the main pane."""
    width, height, margin = page.width * page.dot, page.height * page.dot, page.margin * page.dot
    sheet = Sheet((width, height), style.paper)
    bar = style.size * 2.2
    ends = {name: name in parts for name in PANES}
    top = bar * (ends["title"] + ends["menu"])
    low = height - bar * ends["status"]
    side = width * 0.26 * ends["side"]
    boxes: dict[str, Box] = {
        "title": (0, 0, width, bar),
        "menu": (0, bar * ends["title"], width, top),
        "side": (0, top, side, low),
        "main": (side, top, width, low),
        "status": (0, low, width, height),
    }
    for name in PANES:
        if name not in parts:
            continue
        left, upper, right, lower = boxes[name]
        ink, paper = (page.theme or {}).get(name, (style.ink, style.paper))
        own = style.but(ink=ink, paper=paper, leading=1.8 if name == "side" else style.leading)
        sheet.fill((left, upper, right, lower), paper)
        is_bar = name in ("title", "menu", "status")
        upper += (bar - own.line) / 2 if is_bar else margin
        inside = (left + margin, upper, right - margin, lower if is_bar else lower - margin / 2)
        _flow(sheet, parts[name], [inside], own, False)
    return sheet


def _flow(sheet: Sheet, elements: Sequence[Element], boxes: Sequence[Box], style: Style, continues: bool) -> float:
    """Draw elements from the top of the first box to the bottom of the last one. Returns where the lowest column ends.

    Columns end at the same height if the text ends on this page.
    """
    strips = _strips(elements, boxes[0][2] - boxes[0][0], style)
    placed = _place(strips, boxes)
    if not continues:
        if len(placed) < len(strips):
            raise ConfigError(
                f"the page ends before {len(strips) - len(placed)} lines; use a smaller size or a higher page"
            )
        low, step = boxes[0][3], style.line / 4
        while len(boxes) > 1 and len(shorter := _place(strips, boxes, low := low - step)) == len(strips):
            placed = shorter
    lowest = boxes[0][1]
    for strip, left, top in placed:
        strip.draw(sheet, left, top)
        lowest = max(lowest, top + strip.height)
        if strip.ends_block:
            sheet.end_block()
    sheet.end_block()
    return lowest + style.gap * style.size


def _place(strips: Sequence[Strip], boxes: Sequence[Box], low: float | None = None) -> list[tuple[Strip, float, float]]:
    """The strips that fit with their left and upper edges. low: the lower edge of the boxes, if it is not their own."""
    placed: list[tuple[Strip, float, float]] = []
    columns = iter(boxes)
    left, y, _, bottom = next(columns)
    after: float | None = None  # the space below the strip above, None at the top of a column
    for number, strip in enumerate(strips):
        top = y if after is None else y + after + strip.before
        while top + _together(strips[number:]) > (bottom if low is None else low):
            box = next(columns, None)
            if box is None:
                return placed
            left, top, _, bottom = box
        placed.append((strip, left, top))
        y, after = top + strip.height, strip.after
    return placed


def _together(strips: Sequence[Strip]) -> float:
    """The height of the first strip with those that it must not be parted from."""
    height = strips[0].height
    for strip, following in pairwise(strips):
        if not strip.keeps:
            break
        height += strip.after + following.before + following.height
    return height


def _strips(elements: Sequence[Element], width: float, style: Style) -> list[Strip]:
    return [strip for element in elements for strip in element.strips(width, style)]
