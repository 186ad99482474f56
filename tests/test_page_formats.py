"""hOCR and ALTO: each file is valid by the tables of ``page_schemas`` and has the places of the text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.page_schemas import ALTO, NotValidError, check_alto, check_hocr
from vedcore import __version__
from vedcore.contract.regions import Polygon
from vedcore.documents.alto import alto
from vedcore.documents.hocr import hocr
from vedcore.errors import InputError
from vedcore.reader import Reading
from vedcore.reader.reading import Block, Line, Word

# Readings


def box(left: float, top: float, right: float, bottom: float) -> Polygon:
    return ((left, top), (right, top), (right, bottom), (left, bottom))


def line(text: str, polygon: Polygon, words: tuple[Word, ...] = (), confidence: float = 0.9) -> Line:
    return Line(polygon, text, confidence, (), (), "eos", words)


def reading(*lines: Line, text: str = "", **fields: object) -> Reading:
    blocks = (Block(box(10, 10, 390, 290), lines),) if lines else ()
    settings = {"size": (400, 300), "layout": "page" if lines else "whole", "page": 1} | fields
    return Reading(text, 0.8, (), (), "eos", None, blocks=blocks, **settings)  # type: ignore[arg-type]


LEVEL = line(
    "Guten Tag",
    box(20, 30, 220, 50),
    (Word(box(20, 30, 120.25, 50), "Guten"), Word(box(140, 30, 220, 50), "Tag")),
)
SLANTED = line("a slant", ((20, 100), (220, 110), (219, 130), (19, 120)))
UPWARDS = line("upwards", ((50, 280), (50, 80), (70, 80), (70, 280)))
PAGES = [
    reading(LEVEL, SLANTED, dpi=299.6),
    reading(UPWARDS, page=2),
    reading(page=4),
    reading(text="read at once", page=5),
]
Write = Callable[..., Iterator[str]]
Check = Callable[[str], ElementTree.Element]
FORMATS: list[tuple[Write, Check]] = [(hocr, check_hocr), (alto, check_alto)]


def written(write: Write, pages: list[Reading], title: str = "scan.tif") -> str:
    return "".join(write(iter(pages), title=title))


def titles(root: ElementTree.Element, kind: str) -> list[str]:
    return [element.attrib["title"] for element in root.iter() if element.attrib.get("class") == kind]


def contents(root: ElementTree.Element) -> list[str]:
    words = [element.text or "" for element in root.iter() if element.attrib.get("class") == "ocrx_word"]
    return words + [element.attrib["CONTENT"] for element in root.iter(f"{ALTO}String")]


# Laws of both formats


@pytest.mark.parametrize(("write", "check"), FORMATS)
def test_a_document_is_valid_and_has_its_words_in_reading_order(write: Write, check: Check) -> None:
    root = check(written(write, PAGES))
    assert contents(root) == ["Guten", "Tag", "a", "slant", "upwards", "read", "at", "once"]


@pytest.mark.parametrize(("write", "check"), FORMATS)
def test_a_page_is_written_before_the_next_is_read(write: Write, check: Check) -> None:
    events: list[object] = []

    def pages() -> Iterator[Reading]:
        for page in PAGES[:2]:
            events.append(page.page)
            yield page

    for _ in write(pages(), title="scan.tif"):
        events.append("part")
    assert events == [1, "part", 2, "part", "part"]


@pytest.mark.parametrize(("write", "check"), FORMATS)
def test_without_pages_there_is_no_text(write: Write, check: Check) -> None:
    assert written(write, []) == ""


@pytest.mark.parametrize(("write", "check"), FORMATS)
def test_pages_without_numbers_are_counted(write: Write, check: Check) -> None:
    root = check(written(write, [reading(LEVEL, page=number) for number in (3, None, None, 9)]))
    found = [page.attrib["PHYSICAL_IMG_NR"] for page in root.iter(f"{ALTO}Page")]
    found += [str(int(title.split("ppageno ")[1]) + 1) for title in titles(root, "ocr_page")]
    assert found == ["3", "4", "5", "9"]


@pytest.mark.parametrize(("write", "check"), FORMATS)
def test_a_page_that_occurs_twice_is_refused(write: Write, check: Check) -> None:
    with pytest.raises(InputError, match="page 7 of the document occurs twice"):
        written(write, [reading(page=7), reading(page=7)])


@pytest.mark.parametrize(("write", "check"), FORMATS)
def test_lines_without_text_are_left_out(write: Write, check: Check) -> None:
    assert contents(check(written(write, [reading(line(" ", box(1, 1, 9, 9)), LEVEL)]))) == ["Guten", "Tag"]
    assert contents(check(written(write, [reading(line("", box(1, 1, 9, 9)))]))) == []


@pytest.mark.parametrize(("write", "check"), FORMATS)
def test_boxes_outside_the_page_and_without_width_are_brought_inside(write: Write, check: Check) -> None:
    check(written(write, [reading(line("a b", box(-9, -4, 999, 7)), line("c", box(400, 300, 400, 300)))]))


@pytest.mark.parametrize(("write", "check"), FORMATS)
def test_a_page_without_a_size_is_as_large_as_its_text(write: Write, check: Check) -> None:
    text = written(write, [reading(LEVEL, size=None), reading(text="all", size=None, page=2)])
    check(text)
    assert "0 0 390 290" in text or 'WIDTH="390" HEIGHT="290"' in text


@pytest.mark.parametrize(("write", "check"), FORMATS)
def test_markup_is_text_and_what_xml_forbids_is_replaced(write: Write, check: Check) -> None:
    text = "<b>&amp;\"' \x00\x1b \ud800 \ufffe 😀 ]]>"
    root = check(written(write, [reading(line(text, box(1, 1, 99, 9)))], title='a<b&"c;d\\e\udcff.png'))
    assert contents(root) == ["<b>&amp;\"'", "\ufffd\ufffd", "\ufffd", "\ufffd", "😀", "]]>"]


@given(st.lists(st.text(), max_size=4), st.text(min_size=1), st.text())
def test_every_text_gives_valid_documents(texts: list[str], title: str, whole: str) -> None:
    words = tuple(Word(box(20, 30, 60, 40), text) for text in texts)
    lines = [line(" ".join(texts), box(20, 30, 200, 50), words), line(whole, box(20, 60, 200, 80))]
    found = [
        contents(check(written(write, [reading(*lines), reading(text=whole, page=2)], title)))
        for write, check in FORMATS
    ]
    assert found[0] == found[1]


corner = st.tuples(st.floats(-50, 500), st.floats(-50, 500))


@given(st.tuples(corner, corner, corner, corner), st.floats(0, 1))
def test_every_polygon_gives_valid_documents(polygon: Polygon, confidence: float) -> None:
    page = reading(line("one two", polygon, confidence=confidence))
    for write, check in FORMATS:
        check(written(write, [page]))


# hOCR


def test_hocr_says_who_read_the_page_and_how_large_it_is() -> None:
    text = written(hocr, PAGES, title='my "scan"; 1.tif')
    assert f'<meta name="ocr-system" content="vedcore {__version__}"/>' in text
    first, second, *_ = titles(check_hocr(text), "ocr_page")
    assert first == 'image "my %22scan%22%3B 1.tif"; bbox 0 0 400 300; ppageno 0; scan_res 300 300'
    assert second == 'image "my %22scan%22%3B 1.tif"; bbox 0 0 400 300; ppageno 1'


def test_hocr_has_the_baseline_of_a_line_and_the_angle_of_a_turned_one() -> None:
    level, slanted, upwards, _ = titles(check_hocr(written(hocr, PAGES)), "ocr_line")
    assert level == "bbox 20 30 220 50; baseline 0.0000 -4.0; x_wconf 90"
    assert slanted == "bbox 19 100 220 130; baseline 0.0500 -14.0; x_wconf 90"
    assert upwards == "bbox 50 80 70 280; textangle 90; x_wconf 90"


def test_hocr_has_the_box_of_each_word() -> None:
    root = check_hocr(written(hocr, PAGES))
    assert titles(root, "ocrx_word")[:2] == ["bbox 20 30 121 50; x_wconf 90", "bbox 140 30 220 50; x_wconf 90"]
    assert titles(root, "ocr_carea")[0] == titles(root, "ocr_par")[0] == "bbox 10 10 390 290"


def test_words_of_a_line_without_them_are_placed_by_their_lengths() -> None:
    root = check_hocr(written(hocr, [reading(line("ab cdef", box(0, 0, 70, 20)))]))
    assert titles(root, "ocrx_word") == ["bbox 0 0 20 20; x_wconf 90", "bbox 30 0 70 20; x_wconf 90"]


# ALTO


def test_alto_says_who_read_which_file() -> None:
    root = check_alto(written(alto, PAGES))
    assert root.findtext(f".//{ALTO}fileName") == "scan.tif"
    assert root.findtext(f".//{ALTO}softwareVersion") == __version__
    assert root.findtext(f".//{ALTO}MeasurementUnit") == "pixel"


def test_alto_has_words_and_the_spaces_between_them() -> None:
    root = check_alto(written(alto, PAGES))
    first = next(root.iter(f"{ALTO}TextLine"))
    assert [child.tag.removeprefix(ALTO) for child in first] == ["Shape", "String", "SP", "String"]
    assert first.attrib["BASELINE"] == "20.0,46.0 220.0,46.0"
    assert first[0][0].attrib["POINTS"] == "20.0,30.0 220.0,30.0 220.0,50.0 20.0,50.0"
    assert first[1].attrib == {
        "ID": "word_1_1",
        "CONTENT": "Guten",
        "HPOS": "20",
        "VPOS": "30",
        "WIDTH": "101",
        "HEIGHT": "20",
        "WC": "0.9000",
    }
    assert first[2].attrib == {"HPOS": "120", "VPOS": "30", "WIDTH": "20", "HEIGHT": "20"}


def test_alto_has_the_angle_of_a_block_of_turned_lines() -> None:
    blocks = [block.attrib.get("ROTATION") for block in check_alto(written(alto, PAGES)).iter(f"{ALTO}TextBlock")]
    assert blocks == [None, "90", None]


# The checkers can fail


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("</span>", ""),
        (' xmlns="http://www.w3.org/1999/xhtml"', ""),
        ('name="ocr-system"', 'name="system"'),
        ("ocr_carea ocr_par ocr_line", "ocr_carea ocr_line"),
        ('id="word_1_2"', 'id="word_1_1"'),
        ('id="word_1_2"', 'id="1"'),
        ("ppageno 1", "ppageno 0"),
        ("ppageno 1", "ppageno one"),
        ("image &quot;scan.tif&quot;; ", ""),
        ("bbox 20 30 220 50", "bbox 20 30 220"),
        ("bbox 20 30 220 50", "bbox 20 30 20 50"),
        ("bbox 20 30 220 50", "bbox 20 30 401 50"),
        ("bbox 20 30 220 50; ", ""),
        ("x_wconf 90", "x_wconf 101"),
        ("x_wconf 90", "x_wconf 90; x_wconf 90"),
        ("baseline 0.0000 -4.0", "baseline 0.0000"),
        ("textangle 90", "angle 90"),
        ('class="ocr_line"', 'class="ocr_row"'),
        ('class="ocr_par"', 'class="ocr_carea"'),
        ('<p class="ocr_par" ', '<p class="ocr_par" lang="" '),
        ("Guten</span>", "</span>"),
        ("Guten</span>", "Guten</span> Tag"),
        ("<body>", "<body><table/>"),
        ("<title>", "<title/><title>"),
    ],
)
def test_hocr_that_is_not_valid_is_found(old: str, new: str) -> None:
    text = written(hocr, PAGES)
    assert old in text
    with pytest.raises(NotValidError):
        check_hocr(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("</TextLine>", ""),
        ("alto/ns-v4#", "alto/ns-v3#"),
        ("<MeasurementUnit>pixel</MeasurementUnit>", ""),
        ("<MeasurementUnit>pixel<", "<MeasurementUnit>px<"),
        ("contentGeneration", "reading"),
        ('Processing ID="reading"', "Processing"),
        ('ID="page_2" ', ""),
        (' PHYSICAL_IMG_NR="2"', ""),
        ('PHYSICAL_IMG_NR="2"', 'PHYSICAL_IMG_NR="two"'),
        ('ID="block_1_1"', ""),
        ('ID="word_1_2"', 'ID="word_1_1"'),
        ('CONTENT="Guten" ', ""),
        ('CONTENT="Guten"', 'CONTENT=""'),
        ('CONTENT="Guten"', 'TEXT="Guten"'),
        ('WC="0.9000"', 'WC="1.1"'),
        ('WC="0.9000"', 'WC="90"'),
        ('HPOS="20"', 'HPOS="left"'),
        ('WIDTH="200"', 'WIDTH="0"'),
        ('WIDTH="200"', 'WIDTH="2000"'),
        ('POINTS="20.0,30.0', 'POINTS="20.0'),
        ("<SP ", "<SP/><SP "),
        ("<PrintSpace ", "<PrintSpace/><PrintSpace "),
        ("<Shape>", "<Shape/><Shape>"),
        ("<Layout>", "<Layout>text"),
        ("<Layout>", "<Layout><Block/>"),
        (' <Layout>\n', ' <Styles/><Layout>\n'),
    ],
)  # fmt: skip
def test_alto_that_is_not_valid_is_found(old: str, new: str) -> None:
    text = written(alto, PAGES)
    assert old in text
    with pytest.raises(NotValidError):
        check_alto(text.replace(old, new, 1))


@pytest.mark.parametrize(("write", "check"), FORMATS)
def test_a_document_without_pages_is_found(write: Write, check: Check) -> None:
    text = written(write, PAGES[:1])
    without = re.sub(r'(?s)<Page .*</Page>|<div class="ocr_page.*</div>', "", text)
    assert without != text
    with pytest.raises(NotValidError):
        check(without)
