"""Find the rows of an image: the images that the model reads, in reading order.

A ``RowFinder`` is one way to do it: the whole image, one line, a page, or whichever of line and page an image is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vedcore.contract.protocols import PageSegmenter
from vedcore.contract.regions import LineRegion, PageRegion, Polygon
from vedcore.errors import ImageError, PluginError, foreign
from vedcore.reader.decision import is_page
from vedcore.reader.layout import Layout, LineLayout, PageLayout, Row, SingleLine, Stretch, WholeImage
from vedcore.reader.merging import Overlap
from vedcore.reader.polygons import rectangle
from vedcore.reader.words import ink_gaps
from vedcore.vision import CutPiece, CutRule, content_of, cut_line

Pixels = NDArray[np.uint8]

_ADVICE = 'read it with layout="page" (--layout page)'


@dataclass(frozen=True, slots=True)
class FoundRows:
    """The images of the rows, their layout, and what a reader of the text should know."""

    images: Sequence[Any]
    layout: Layout
    warnings: tuple[str, ...] = ()


class RowFinder(Protocol):
    """A way to find the rows of an image."""

    def __call__(self, image: Any, /) -> FoundRows:
        """An RGB image, from ``load_image`` -> its rows. Raises ImageError."""


@dataclass(frozen=True, slots=True)
class FindWhole:
    """The whole image is one row. reads_lines: the model reads lines of text, so an image of something else is suspicious."""

    reads_lines: bool

    def __call__(self, image: Any, /) -> FoundRows:
        """One row."""
        return FoundRows([image], WholeImage(), line_warnings(np.asarray(image), self.reads_lines, _ADVICE))


@dataclass(frozen=True, slots=True)
class FindLine:
    """The image is a line. rule: a long line is cut by it. advice: what to do about an image that looks like a page."""

    rule: CutRule | None
    advice: str = _ADVICE

    def __call__(self, image: Any, /) -> FoundRows:
        """A row, or those of a line that is cut."""
        pixels = np.asarray(image)
        images, line = lay_out_line(pixels, rectangle(image.size), self.rule)
        return FoundRows(images, SingleLine(line), line_warnings(pixels, True, self.advice))


@dataclass(frozen=True, slots=True)
class FindPage:
    """The image is a page. rule: long lines are cut by it."""

    segmenter: PageSegmenter
    rule: CutRule | None

    def __call__(self, image: Any, /) -> FoundRows:
        """The rows of all lines. A page may have none."""
        return self.lay_out(self.segment(image), image)

    def segment(self, image: Any) -> PageRegion:
        """The regions of the page. Raises ImageError if the segmenter fails, and PluginError if its result is not valid."""
        with foreign(ImageError, "the segmenter failed"):
            page: Any = self.segmenter(np.asarray(image))
        if not isinstance(page, PageRegion):
            raise PluginError(
                f"the segmenter returned a {type(page).__name__}, not a PageRegion",
                field="segmenter",
                expected="PageRegion",
                found=type(page).__name__,
            )
        for line in page.lines:
            _check(line)
        return page

    def lay_out(self, page: PageRegion, image: Any) -> FoundRows:
        """The rows of the lines of ``page``, which was found in ``image``."""
        images: list[Any] = []
        blocks: list[tuple[Polygon, list[LineLayout]]] = []
        for block in page.blocks:
            lines = []
            for region in block.lines:
                rows, line = lay_out_line(region.pixels, region.polygon, self.rule)
                images += rows
                lines.append(line)
            blocks.append((block.polygon, lines))
        warnings = page.warnings
        if not images:
            blank = content_of(np.asarray(image)).kind == "blank"
            warnings = (*warnings, "the image is blank" if blank else "no text was found")
        return FoundRows(images, PageLayout(blocks), warnings)


@dataclass(frozen=True, slots=True)
class FindLineOrPage:
    """Each image is a line or a page, whichever it looks like."""

    line: FindLine
    page: FindPage

    def __call__(self, image: Any, /) -> FoundRows:
        """The rows of a page if the image has two lines one above the other, or much space around its only line."""
        page = self.page.segment(image)
        if is_page(page, image.size):
            return self.page.lay_out(page, image)
        if page.lines or content_of(np.asarray(image)).kind == "line":
            found = self.line(image)
            return replace(found, warnings=(*page.warnings, *found.warnings))
        return self.page.lay_out(page, image)


def lay_out_line(pixels: Pixels, polygon: Polygon, rule: CutRule | None) -> tuple[list[Pixels], LineLayout]:
    """The rows of the line in ``pixels`` (H, W[, 3]), whose corners in the image are ``polygon``, and its layout."""
    height, width = pixels.shape[:2]
    pieces = cut_line(pixels, rule) if rule is not None else []
    pieces = pieces or [CutPiece((0, 0, width, height), pixels)]
    stretches: list[list[CutPiece]] = []
    for piece in pieces:
        if piece.overlap:
            stretches[-1].append(piece)
        else:
            stretches.append([piece])
    separator = " " if rule is None else rule.separator
    laid_out = tuple(_stretch(stretch, height, width) for stretch in stretches)
    return [piece.pixels for piece in pieces], LineLayout(polygon, laid_out, separator, cut=len(pieces) > 1)


def _stretch(pieces: Sequence[CutPiece], height: int, width: int) -> Stretch:
    """The layout of pieces that overlap; (height, width) of the line."""
    boxes = [piece.box for piece in pieces]
    rows = tuple(Row(left / width, top / height, right / width, bottom / height) for left, top, right, bottom in boxes)
    widths = [right - left for left, _, right, _ in boxes]
    overlaps = tuple(
        Overlap(piece.overlap / before, piece.overlap / own)
        for piece, before, own in zip(pieces[1:], widths, widths[1:], strict=False)
    )
    shown = [piece.pixels[:, piece.overlap : own] for piece, own in zip(pieces, widths, strict=True)]
    return Stretch(rows, ink_gaps(shown[0] if len(shown) == 1 else np.concatenate(shown, axis=1)), overlaps)


def line_warnings(pixels: Pixels, reads_lines: bool, advice: str) -> tuple[str, ...]:
    """Why the image (H, W, 3) is not a line of text, if it does not look like one."""
    content = content_of(pixels)
    if content.kind == "blank":
        return ("the image is blank",)
    if not reads_lines or content.kind == "line":
        return ()
    if content.kind == "photograph":
        return ("the image looks like a photograph, not like a line of text",)
    return (f"the image looks like a page ({content.evidence}), but was read as one line; {advice}",)


def _check(line: LineRegion) -> None:
    pixels: Any = line.pixels
    valid = isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.size > 0
    if not (valid and pixels.ndim in (2, 3) and pixels.shape[2:] in ((), (3,)) and len(line.polygon) == 4):
        raise PluginError(
            "the segmenter returned a line that is not valid: pixels must be (h, w) or (h, w, 3) uint8 and not empty, and the "
            f"polygon must have four corners; got {getattr(pixels, 'dtype', type(pixels).__name__)} of shape "
            f"{getattr(pixels, 'shape', None)} and {len(line.polygon)} corners",
            field="lines",
            expected="(h, w) or (h, w, 3) uint8 and four corners",
            found=(getattr(pixels, "shape", None), len(line.polygon)),
        )
