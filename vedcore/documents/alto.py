"""ALTO: the text and the layout of a document in the XML of libraries. Version 4.4 of the schema."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from itertools import zip_longest

from vedcore import __version__
from vedcore.contract.regions import Point
from vedcore.documents.read_page import Box, PlacedBlock, PlacedLine, PlacedPage, ReadPage, place_pages, xml_text

_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 xsi:schemaLocation="http://www.loc.gov/standards/alto/ns-v4# http://www.loc.gov/standards/alto/v4/alto-4-4.xsd"
 SCHEMAVERSION="4.4">
 <Description>
  <MeasurementUnit>pixel</MeasurementUnit>
  <sourceImageInformation>
   <fileName>{title}</fileName>
  </sourceImageInformation>
  <Processing ID="reading">
   <processingCategory>contentGeneration</processingCategory>
   <processingSoftware>
    <softwareName>vedcore</softwareName>
    <softwareVersion>{version}</softwareVersion>
   </processingSoftware>
  </Processing>
 </Description>
 <Layout>
"""
_TAIL = " </Layout>\n</alto>\n"


def alto(pages: Iterable[ReadPage], *, title: str) -> Iterator[str]:
    """The text of an ALTO file, in parts: one for each page, as soon as it comes. Without pages there is none.

    title: the name of the document. Encode the parts as UTF-8. The baselines are estimated, and a word has the confidence of
    its line. Raises InputError if two pages have the same number.
    """
    before = _HEAD.format(title=escape(xml_text(title)), version=__version__)
    for page in place_pages(pages):
        yield before + "".join(_page(page))
        before = ""
    if not before:
        yield _TAIL


def _page(page: PlacedPage) -> Iterator[str]:
    width, height = page.size
    number = page.number
    yield f'  <Page ID="page_{number}" PHYSICAL_IMG_NR="{number}" WIDTH="{width}" HEIGHT="{height}">\n'
    yield f'   <PrintSpace ID="space_{number}"{_sides((0, 0, width, height))}>\n'
    lines = words = 0
    for at, block in enumerate(page.blocks, 1):
        yield f'    <TextBlock ID="block_{number}_{at}"{_sides(block.box)}{_rotation(block)}>\n'
        for line in block.lines:
            lines += 1
            yield f'     <TextLine ID="line_{number}_{lines}"{_sides(line.box)} BASELINE="{_points(line.baseline)}">\n'
            yield f'      <Shape><Polygon POINTS="{_points(line.polygon)}"/></Shape>\n'
            for word, space in zip_longest(line.words, line.spaces):
                words += 1
                content = f'CONTENT="{escape(word.text)}"'
                yield f'      <String ID="word_{number}_{words}" {content}{_sides(word.box)} WC="{_wc(line)}"/>\n'
                if space is not None:
                    yield f"      <SP{_sides(space)}/>\n"
            yield "     </TextLine>\n"
        yield "    </TextBlock>\n"
    yield "   </PrintSpace>\n  </Page>\n"


def _sides(box: Box) -> str:
    left, top, right, bottom = box
    return f' HPOS="{left}" VPOS="{top}" WIDTH="{right - left}" HEIGHT="{bottom - top}"'


def _rotation(block: PlacedBlock) -> str:
    """The angle of a block whose lines are all turned alike."""
    angles = {line.angle for line in block.lines}
    return f' ROTATION="{angles.pop()}"' if len(angles) == 1 and 0 not in angles else ""


def _points(points: Iterable[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _wc(line: PlacedLine) -> str:
    return f"{line.confidence:.4f}"
