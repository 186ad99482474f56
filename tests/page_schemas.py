"""Whether hOCR and ALTO documents are valid.

The tables hold what vedcore writes, in the terms of ALTO's schema 4.4 and of the hOCR specification 1.2: a document that
passes is valid there too, and what these formats allow beyond that is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NoReturn
from xml.etree import ElementTree

NUMBER = r"-?\d+(\.\d+)?"
WHOLE = r"\d+"
SHARE = r"0(\.\d+)?|1(\.0+)?"
IDENTITY = r"[A-Za-z_][\w.-]*"
POINTS = rf"{NUMBER},{NUMBER}( {NUMBER},{NUMBER})+"
SIDES = dict.fromkeys(("HPOS", "VPOS", "WIDTH", "HEIGHT"), WHOLE)
XSI = "{http://www.w3.org/2001/XMLSchema-instance}"
ALTO, XHTML = "{http://www.loc.gov/standards/alto/ns-v4#}", "{http://www.w3.org/1999/xhtml}"


@dataclass(frozen=True)
class Rule:
    """What an element may be. children: their names, each with a space after it. required, optional: the attributes."""

    children: str = ""
    required: dict[str, str] = field(default_factory=dict)
    optional: dict[str, str] = field(default_factory=dict)
    text: str = r"\s*"


ALTO_RULES = {
    "alto": Rule("(Description )?Layout ", optional={"SCHEMAVERSION": r"4\.4", f"{XSI}schemaLocation": r"\S+ \S+"}),
    "Description": Rule("MeasurementUnit (sourceImageInformation )?(Processing )*"),
    "MeasurementUnit": Rule(text="pixel|mm10|inch1200"),
    "sourceImageInformation": Rule("(fileName )?"),
    "fileName": Rule(text="(?s:.*)"),
    "Processing": Rule("(processingCategory )?(processingSoftware )?", {"ID": IDENTITY}),
    "processingCategory": Rule(text="contentGeneration|contentModification|preOperation|postOperation|other"),
    "processingSoftware": Rule("(softwareName )?(softwareVersion )?"),
    "softwareName": Rule(text=".+"),
    "softwareVersion": Rule(text=".+"),
    "Layout": Rule("(Page )+"),
    "Page": Rule("(PrintSpace )?", {"ID": IDENTITY, "PHYSICAL_IMG_NR": WHOLE}, {"WIDTH": WHOLE, "HEIGHT": WHOLE}),
    "PrintSpace": Rule("(TextBlock )*", {}, {"ID": IDENTITY, **SIDES}),
    "TextBlock": Rule("(TextLine )*", {"ID": IDENTITY}, {"ROTATION": NUMBER, **SIDES}),
    "TextLine": Rule("(Shape )?(String (SP )?)+", {}, {"ID": IDENTITY, "BASELINE": POINTS, **SIDES}),
    "Shape": Rule("Polygon "),
    "Polygon": Rule(required={"POINTS": POINTS}),
    "String": Rule(required={"CONTENT": r"\S(.*\S)?"}, optional={"ID": IDENTITY, "WC": SHARE, **SIDES}),
    "SP": Rule(optional={"ID": IDENTITY, **SIDES}),
}

ANY = {"id": IDENTITY, "class": r"[\w]+", "title": ".+"}
HTML_RULES = {
    "html": Rule("head body "),
    "head": Rule("title (meta )*"),
    "title": Rule(text="(?s:.+)"),
    "meta": Rule(required={"content": ".+"}, optional={"name": ".+", "http-equiv": ".+"}),
    "body": Rule("((div|p) )*"),
    "div": Rule("((div|p|span) )*", optional=ANY),
    "p": Rule("(span )*", optional=ANY),  # a paragraph holds no blocks
    "span": Rule("(span )*", optional=ANY, text="(?s:.*)"),
}

BBOX = {"bbox": rf"{WHOLE} {WHOLE} {WHOLE} {WHOLE}"}
CONFIDENCE = {"x_wconf": r"\d\d?|100"}
HOCR_RULES: dict[str, tuple[str, Rule]] = {  # class: the class around it, and its properties
    "ocr_page": (
        "",
        Rule(required={"image": '"[^"\\\\]+"', "ppageno": WHOLE, **BBOX}, optional={"scan_res": r"\d+ \d+"}),
    ),
    "ocr_carea": ("ocr_page", Rule(required=BBOX)),
    "ocr_par": ("ocr_carea", Rule(required=BBOX)),
    "ocr_line": (
        "ocr_par",
        Rule(required=BBOX, optional={"baseline": f"{NUMBER} {NUMBER}", "textangle": NUMBER, **CONFIDENCE}),
    ),
    "ocrx_word": ("ocr_line", Rule(required=BBOX, optional=CONFIDENCE, text=r"\S.*")),
}


class NotValidError(Exception):
    """A document is not valid."""


def refuse(problem: str) -> NoReturn:
    raise NotValidError(problem)


def check_values(what: str, values: dict[str, str], rule: Rule) -> None:
    allowed = rule.required | rule.optional
    for name, value in values.items():
        if name not in allowed or not re.fullmatch(allowed[name], value):
            refuse(f"{what}: {name}={value!r} is not allowed")
    if missing := rule.required.keys() - values.keys():
        refuse(f"{what}: {missing} is missing")


def check_tree(root: ElementTree.Element, namespace: str, rules: dict[str, Rule], identity: str) -> None:
    """Raises NotValidError if an element, an attribute or a text is not as the rules say, or if two identities are equal."""
    identities = set()
    for element in root.iter():
        name = element.tag.removeprefix(namespace)
        if not element.tag.startswith(namespace) or name not in rules:
            refuse(f"{element.tag} is not allowed")
        rule = rules[name]
        check_values(name, element.attrib, rule)
        children = "".join(child.tag.removeprefix(namespace) + " " for child in element)
        if not re.fullmatch(rule.children, children):
            refuse(f"{name} has the elements {children!r}")
        if not re.fullmatch(rule.text, element.text or "") or any((child.tail or "").strip() for child in element):
            refuse(f"{name} has the text {element.text!r}")
        if identity in element.attrib:
            if element.attrib[identity] in identities:
                refuse(f"{element.attrib[identity]} occurs twice")
            identities.add(element.attrib[identity])


def properties(element: ElementTree.Element) -> dict[str, str]:
    """The properties in the title of an element of hOCR."""
    parts = [part.strip().split(" ", 1) for part in element.attrib["title"].split(";")]
    found = {part[0]: part[-1] for part in parts}
    if len(found) < len(parts):
        refuse("a property occurs twice")
    return found


def parse(text: str) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(text.encode())
    except (ElementTree.ParseError, UnicodeError) as error:
        raise NotValidError(str(error)) from error


def check_alto(text: str) -> ElementTree.Element:
    root = parse(text)
    if root.tag != f"{ALTO}alto":
        refuse("no ALTO")
    check_tree(root, ALTO, ALTO_RULES, "ID")
    for page in root.iter(f"{ALTO}Page"):
        width, height = int(page.attrib["WIDTH"]), int(page.attrib["HEIGHT"])
        for element in page.iter():
            if "HPOS" in element.attrib:
                left, top, across, down = (int(element.attrib[side]) for side in SIDES)
                if not (0 < across <= width - left and 0 < down <= height - top):
                    refuse(f"{element.attrib} is not inside the page")
    return root


def check_hocr(text: str) -> ElementTree.Element:
    root = parse(text)
    if root.tag != f"{XHTML}html":
        refuse("no XHTML")
    check_tree(root, XHTML, HTML_RULES, "id")
    meta = {element.attrib.get("name"): element.attrib["content"] for element in root.iter(f"{XHTML}meta")}
    if not {"ocr-system", "ocr-capabilities"} <= meta.keys():
        refuse("metadata are missing")
    around = {child: parent for parent in root.iter() for child in parent}
    pages, numbers = [], set()
    for element in root.iter():
        kind = element.attrib.get("class")
        if kind is None:
            continue
        if kind not in HOCR_RULES or kind not in meta["ocr-capabilities"].split():
            refuse(f"{kind} is not allowed")
        outer, rule = HOCR_RULES[kind]
        if around[element].attrib.get("class", "") != outer:
            refuse(f"{kind} is not inside {outer or 'the body'}")
        found = properties(element)
        check_values(kind, found, rule)
        if not re.fullmatch(rule.text, element.text or ""):
            refuse(f"{kind} has the text {element.text!r}")
        box = [int(side) for side in found["bbox"].split()]
        if kind == "ocr_page":
            pages.append(box)
            numbers.add(found["ppageno"])
        left, top, right, bottom = box
        if not (0 <= left < right <= pages[-1][2] and 0 <= top < bottom <= pages[-1][3]):
            refuse(f"{box} is not inside the page")
    if not pages or len(numbers) < len(pages):
        refuse("there must be a page, and each must have a number of its own")
    return root
