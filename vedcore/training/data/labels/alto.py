"""ALTO, versions 2 to 4: lines of strings with boxes and polygons."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from vedcore.errors import ConfigError
from vedcore.training.data.labels.page_lines import Outline, PageLine, PageText, in_one_line, outline_of, size_of
from vedcore.training.data.labels.xml_tree import line_of

_SOFT_HYPHEN = "\N{SOFT HYPHEN}"


def read_alto(root: Element) -> PageText:
    """The page of an ALTO file. Raises ConfigError if the file has several."""
    pages = list(root.iter("Page"))
    if len(pages) > 1:
        raise ConfigError(f"{len(pages)} pages, but one image; save one file for each page", found=len(pages))
    unit = (root.findtext("Description/MeasurementUnit") or "pixel").strip()
    name = (root.findtext("Description/sourceImageInformation/fileName") or "").strip()
    size = size_of(pages[0], "WIDTH", "HEIGHT") if pages else None
    return PageText(name or None, size, unit == "pixel", tuple(map(_line, root.iter("TextLine"))))


def _line(element: Element) -> PageLine:
    return PageLine(line_of(element), element.get("ID", "?"), _text(element), _outline(element))


def _text(element: Element) -> str | None:
    """Strings, with a space where the file has one; between all strings if the line has no element for spaces."""
    strings = [child.get("CONTENT", "") for child in element if child.tag == "String"]
    if not any(child.tag == "SP" for child in element):
        text = " ".join(strings)
    else:
        text = "".join(
            " " if child.tag == "SP" else child.get("CONTENT", "") for child in element if child.tag in ("String", "SP")
        )
    for child in element:
        hyphen = child.get("CONTENT", "").replace(_SOFT_HYPHEN, "-") if child.tag == "HYP" else ""
        if not text.endswith(hyphen):
            text += hyphen
    return in_one_line(text) if strings else None


def _outline(element: Element) -> Outline | None:
    """The polygon of the line, or its box."""
    polygon = element.find("Shape/Polygon")
    if polygon is not None and (outline := outline_of(polygon.get("POINTS", ""))):
        return outline
    size = size_of(element, "WIDTH", "HEIGHT")
    try:
        left, top = float(element.get("HPOS", "")), float(element.get("VPOS", ""))
    except ValueError:
        return None
    if size is None:
        return None
    right, bottom = left + size[0], top + size[1]
    return ((left, top), (right, top), (right, bottom), (left, bottom))
