"""hOCR: the text of a document as a web page that says where each line and word is. Version 1.2 of the specification."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from vedcore import __version__
from vedcore.documents.read_page import Box, PlacedLine, PlacedPage, ReadPage, place_pages, xml_text

_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml">
 <head>
  <title>{title}</title>
  <meta http-equiv="Content-Type" content="text/html; charset=utf-8"/>
  <meta name="ocr-system" content="vedcore {version}"/>
  <meta name="ocr-capabilities" content="ocr_page ocr_carea ocr_par ocr_line ocrx_word ocrp_wconf"/>
 </head>
 <body>
"""
_TAIL = " </body>\n</html>\n"


def hocr(pages: Iterable[ReadPage], *, title: str) -> Iterator[str]:
    """The text of an hOCR file, in parts: one for each page, as soon as it comes. Without pages there is none.

    title: the name of the document. Encode the parts as UTF-8. The baselines are estimated, and a word has the confidence of
    its line. Raises InputError if two pages have the same number.
    """
    name = xml_text(title)
    before = _HEAD.format(title=escape(name), version=__version__)
    for page in place_pages(pages):
        yield before + "".join(_page(page, name))
        before = ""
    if not before:
        yield _TAIL


def _page(page: PlacedPage, name: str) -> Iterator[str]:
    width, height = page.size
    # A semicolon separates properties, and a path has the slashes of Unix.
    image = name.replace("\\", "/").replace('"', "%22").replace(";", "%3B")
    properties = [f'image "{image}"', _bbox((0, 0, width, height)), f"ppageno {page.number - 1}"]
    if page.dpi is not None:
        properties.append(f"scan_res {page.dpi:.0f} {page.dpi:.0f}")
    yield f'  <div class="ocr_page" id="page_{page.number}" title="{escape("; ".join(properties))}">\n'
    line_number = word_number = 0
    for number, block in enumerate(page.blocks, 1):
        place = f"{page.number}_{number}"
        yield f'   <div class="ocr_carea" id="block_{place}" title="{_bbox(block.box)}">\n'
        yield f'    <p class="ocr_par" id="par_{place}" title="{_bbox(block.box)}">\n'
        for line in block.lines:
            line_number += 1
            yield f'     <span class="ocr_line" id="line_{page.number}_{line_number}" title="{_of_line(line)}">\n'
            for word in line.words:
                word_number += 1
                title = f"{_bbox(word.box)}; {_wconf(line)}"
                identity = f"word_{page.number}_{word_number}"
                yield f'      <span class="ocrx_word" id="{identity}" title="{title}">{escape(word.text)}</span>\n'
            yield "     </span>\n"
        yield "    </p>\n   </div>\n"
    yield "  </div>\n"


def _of_line(line: PlacedLine) -> str:
    """The properties of a line. A baseline is relative to the lower left corner of the box, so a turned line has none."""
    if line.angle:
        return f"{_bbox(line.box)}; textangle {line.angle}; {_wconf(line)}"
    (x, y), (end, level) = line.baseline
    slope = (level - y) / (end - x) if end > x else 0.0
    left, _, _, bottom = line.box
    offset = y + slope * (left - x) - bottom
    return f"{_bbox(line.box)}; baseline {slope:.4f} {offset:.1f}; {_wconf(line)}"


def _bbox(box: Box) -> str:
    return "bbox " + " ".join(map(str, box))


def _wconf(line: PlacedLine) -> str:
    return f"x_wconf {100 * line.confidence:.0f}"
