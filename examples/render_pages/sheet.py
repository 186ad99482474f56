"""A sheet of paper: what is drawn on it, and the text that was written, in the order of writing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from render_pages.faces import Family

Box = tuple[float, float, float, float]
"""(left, top, right, bottom) in dots."""


@dataclass(frozen=True)
class Style:
    """How a text looks. Lengths are in dots, of which a pixel of the finished page has ``dot`` each way.

    size: dots per em. leading: the height of a line in em. gap: the space after a paragraph in em. indent: that of its first
    line in em.
    """

    family: Family
    size: float
    ink: str = "#141414"
    paper: str = "#ffffff"
    accent: str = "#2a4d7c"
    bold: bool = False
    justified: bool = False
    leading: float = 1.3
    gap: float = 0.6
    indent: float = 0.0
    dot: int = 1

    @property
    def font(self) -> ImageFont.FreeTypeFont:
        """The face in its size."""
        return self.family.font(self.size, bold=self.bold)

    @property
    def line(self) -> float:
        """The height of a line."""
        return self.size * self.leading

    def width(self, text: str) -> float:
        """The width of a text on one line."""
        return self.font.getlength(text)

    def but(self, **changes: Any) -> Style:
        """The style with changes."""
        return replace(self, **changes)


class Sheet:
    """An image that is drawn on, with a transcript of its text: blocks of lines."""

    def __init__(self, size: tuple[int, int], paper: str) -> None:
        self.image = Image.new("RGB", size, paper)
        self._draw = ImageDraw.Draw(self.image)
        self._blocks: list[list[str]] = [[]]

    def write(
        self, text: str, left: float, top: float, style: Style, *, spread: float = 0.0, joins: bool = False
    ) -> None:
        """Write one line of text in a line of the style's height. spread: what is added to each space.

        joins: the text belongs to the line that was written last.
        """
        baseline = top + style.line / 2 + style.size * 0.34
        x = left
        for part in text.split(" ") if spread else [text]:
            self._draw.text((x, baseline), part, fill=style.ink, font=style.font, anchor="ls")
            x += style.width(part + " ") + spread
        block = self._blocks[-1]
        if joins and block:
            block[-1] = f"{block[-1]} {text}"
        else:
            block.append(text)

    def end_block(self) -> None:
        """Begin a new block, such as a paragraph."""
        if self._blocks[-1]:
            self._blocks.append([])

    def fill(self, box: Box, colour: str, *, rounded: float = 0.0) -> None:
        """Fill a box with a colour."""
        self._draw.rounded_rectangle(box, rounded, fill=colour)

    def frame(self, box: Box, colour: str, width: int, *, rounded: float = 0.0) -> None:
        """Draw the edges of a box."""
        self._draw.rounded_rectangle(box, rounded, outline=colour, width=width)

    def stroke(self, points: list[tuple[float, float]], colour: str, width: int) -> None:
        """Draw a line through points."""
        self._draw.line(points, fill=colour, width=width)

    @property
    def transcript(self) -> str:
        """The text: lines joined with a newline, blocks with a blank line."""
        return "\n\n".join("\n".join(block) for block in self._blocks if block) + "\n"
