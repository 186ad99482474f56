"""What a reader returns for an image: its text, and where each part of the text is.

A page has blocks, a block has lines, a line has words. ``vedcore.contract.regions`` says what their polygons are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from vedcore.contract.regions import Polygon

Box = tuple[int, int, int, int]
"""(left, top, right, bottom) in pixels of the image, right and bottom exclusive."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a long line: its box in the image, and its text."""

    box: Box
    text: str


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a line. polygon: four corners, as those of the line; its sides are estimated from the gaps in the ink."""

    polygon: Polygon
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text. The fields have the meaning that they have in ``Reading``.

    polygon: four corners, the first the upper left one as the text is read.
    """

    polygon: Polygon
    text: str
    confidence: float
    token_ids: tuple[int, ...]
    token_logprobs: tuple[float, ...]
    stop_reason: str
    words: tuple[Word, ...] = ()
    pieces: tuple[Piece, ...] = ()
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """Lines that belong together, such as a paragraph, in reading order."""

    polygon: Polygon
    lines: tuple[Line, ...]

    @property
    def text(self) -> str:
        """The texts of the lines, each on a line of its own."""
        return "\n".join(line.text for line in self.lines)


@dataclass(frozen=True, slots=True)
class Reading:
    """The text of one image.

    text: on a page, the lines of a block are joined with a newline, and the blocks with a blank line.
    confidence: exp(mean log-probability of the tokens, including the end token), 0 to 1; 0 on a page without text.
    token_ids, token_logprobs: the tokens after the start token or the prompt, including the end token, and their
    log-probabilities. The text is theirs; on a page they are those of all lines, and of a cut line those of all pieces. Where
    pieces overlap, they have more letters than the merged text.
    stop_reason: "eos", or why generation stopped before the end token; "no text" on a page without text.
    source: the image as the caller passed it.
    pieces: the pieces of a line that was cut, otherwise empty.
    blocks: the regions of the text in reading order; empty if the image was read whole.
    layout: how the image was read: "page", "line" or "whole".
    warnings: reasons to doubt that the image has the text, each a short sentence.
    size: (width, height) of the image in pixels, upright.
    dpi: its horizontal resolution in dots per inch, if the file says so. page: its number in a document, from 1.
    probability: the probability that the text is exactly right, a cautious estimate; on a page the mean over its lines, which
    is the share of them that are expected to be right. None if the checkpoint has no calibration, and on a page without text.
    """

    text: str
    confidence: float
    token_ids: tuple[int, ...]
    token_logprobs: tuple[float, ...]
    stop_reason: str
    source: Any
    pieces: tuple[Piece, ...] = ()
    blocks: tuple[Block, ...] = ()
    layout: Literal["page", "line", "whole"] = "whole"
    warnings: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    dpi: float | None = None
    page: int | None = None
    probability: float | None = None

    @property
    def lines(self) -> tuple[Line, ...]:
        """The lines of all blocks, in reading order."""
        return tuple(line for block in self.blocks for line in block.lines)


@dataclass(frozen=True, slots=True)
class Fragment:
    """New text of an image while it is being read. The fragments of an image, joined, are the text of its Reading.

    index: the position of the image among those passed. source: the image as the caller passed it.
    """

    index: int
    source: Any
    text: str
