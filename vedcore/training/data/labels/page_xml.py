"""PAGE (PRImA), 2013 and 2019: lines with polygons."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from vedcore.training.data.labels.page_lines import PageLine, PageText, in_one_line, outline_of, size_of
from vedcore.training.data.labels.xml_tree import line_of


def read_page_xml(root: Element) -> PageText:
    """The page of a PAGE file."""
    page = root.find("Page")
    if page is None:
        return PageText(None, None, True, ())
    size = size_of(page, "imageWidth", "imageHeight")
    return PageText(page.get("imageFilename") or None, size, True, tuple(map(_line, page.iter("TextLine"))))


def _line(element: Element) -> PageLine:
    coords = element.find("Coords")
    outline = None if coords is None else outline_of(coords.get("points", ""))
    return PageLine(line_of(element), element.get("id", "?"), _text(element), outline)


def _text(element: Element) -> str | None:
    """The first text of the line, or those of its words."""
    own = _own_text(element)
    if own is not None:
        return own
    words = [text for word in element.iter("Word") if (text := _own_text(word)) is not None]
    return " ".join(words) if words else None


def _own_text(element: Element) -> str | None:
    texts = sorted(element.findall("TextEquiv"), key=_rank)
    found = texts[0].findtext("Unicode") if texts else None
    return None if found is None else in_one_line(found)


def _rank(text: Element) -> int:
    """Of several readings of a line, the lowest index is the preferred one."""
    index = text.get("index", "")
    return int(index) if index.isdecimal() else 0
