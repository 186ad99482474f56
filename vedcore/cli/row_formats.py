"""Formats with one row or text for each image: table, text, jsonl, csv."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vedcore.cli.tables import table

if TYPE_CHECKING:
    from vedcore.cli.inputs import Input
    from vedcore.contract.regions import Polygon
    from vedcore.reader import Line, Reading


@dataclass(frozen=True, slots=True)
class ReadPage:
    """A page that was read. pages: how many pages its document has."""

    document: Input
    pages: int
    reading: Reading

    @property
    def label(self) -> str:
        """The name of the document, with the number of the page if there are several."""
        return self.document.name if self.pages == 1 else f"{self.document.name}, page {self.reading.page}"


Pages = Iterable[ReadPage]


def table_or_text(pages: Pages, terminal: bool) -> Iterator[str]:
    """A table of lines; the plain text as soon as one of the images is a page, whose text does not fit in a table."""
    lines: list[ReadPage] = []
    remaining = iter(pages)
    for page in remaining:
        lines.append(page)
        if page.reading.layout == "page":
            yield from text((*lines, *remaining), terminal)
            return
    yield from as_table(lines, terminal)


def as_table(pages: Pages, terminal: bool) -> Iterator[str]:
    """A table with one row for each image, styled if it is for a ``terminal``."""
    readings = [(page.label, page.reading) for page in pages]
    # Without a calibration no reading has a probability, and the column would be empty.
    known = any(reading.probability is not None for _, reading in readings)
    rows = [
        (
            name,
            reading.text,
            f"{reading.confidence:.3f}",
            *([_number(reading.probability, 3)] if known else []),
            reading.stop_reason,
        )
        for name, reading in readings
    ]
    if rows:
        titles = ("image", "text", "confidence", *(["probability"] if known else []), "stop")
        yield table(titles, rows, terminal=terminal)


def text(pages: Pages, terminal: bool) -> Iterator[str]:
    """The plain texts. A form feed comes between the pages of a document, and before and after a page of several lines."""
    before: ReadPage | None = None
    for page in pages:
        apart = before is not None and (before.document == page.document or "page" in _layouts(before, page))
        yield ("\f" if apart else "") + page.reading.text + "\n"
        before = page


def jsonl(pages: Pages, terminal: bool) -> Iterator[str]:
    """A JSON object on a line of its own for each image."""
    return (json.dumps(_json_row(page), ensure_ascii=False) + "\n" for page in pages)


def as_csv(pages: Pages, terminal: bool) -> Iterator[str]:
    """A header, and a row for each image."""

    def row(*cells: object) -> str:
        stream = io.StringIO()
        csv.writer(stream, lineterminator="\n").writerow(cells)
        return stream.getvalue()

    yield row("file", "text", "confidence", "probability", "stop_reason", "page", "layout", "warnings")
    for page in pages:
        reading = page.reading
        numbers = (_number(reading.confidence, 6), _number(reading.probability, 6))
        start = (page.document.name, reading.text, *numbers, reading.stop_reason)
        yield row(*start, reading.page, reading.layout, "; ".join(reading.warnings))


def _layouts(*pages: ReadPage) -> set[str]:
    return {page.reading.layout for page in pages}


def _json_row(page: ReadPage) -> dict[str, Any]:
    reading = page.reading
    row = {
        "file": page.document.name,
        "text": reading.text,
        "confidence": round(reading.confidence, 6),
        "probability": _rounded(reading.probability),
        "stop_reason": reading.stop_reason,
        "token_ids": reading.token_ids,
        "token_logprobs": [round(value, 6) for value in reading.token_logprobs],
        "pieces": [{"box": piece.box, "text": piece.text} for piece in reading.pieces],
        "page": reading.page,
        "size": reading.size,
        "dpi": reading.dpi,
        "layout": reading.layout,
        "warnings": reading.warnings,
    }
    if reading.layout == "page":
        row["blocks"] = [
            {"polygon": _points(block.polygon), "lines": [_json_line(line) for line in block.lines]}
            for block in reading.blocks
        ]
    return row


def _json_line(line: Line) -> dict[str, Any]:
    return {
        "polygon": _points(line.polygon),
        "text": line.text,
        "confidence": round(line.confidence, 6),
        "probability": _rounded(line.probability),
        "stop_reason": line.stop_reason,
        "words": [{"polygon": _points(word.polygon), "text": word.text} for word in line.words],
    }


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _points(polygon: Polygon) -> list[tuple[float, float]]:
    return [(round(x, 1), round(y, 1)) for x, y in polygon]
