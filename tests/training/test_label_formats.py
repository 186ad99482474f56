"""The formats of labels: tables of other tools, .gt.txt, ALTO and PAGE; and what is said about broken ones."""

import csv
import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.training.tiny import draw
from vedcore.errors import ConfigError
from vedcore.training import Fault, Folder
from vedcore.training.data.labels.columns import FILE_NAMES, TEXT_NAMES
from vedcore.vision import load_image


def folder_with(folder, name, content, images=("0.png", "1.png")):
    folder.mkdir(parents=True, exist_ok=True)
    for image in images:
        (folder / image).parent.mkdir(parents=True, exist_ok=True)
        draw("x").save(folder / image)
    data = content if isinstance(content, bytes) else content.encode()
    (folder / name).write_bytes(data)
    return folder


def texts(folder, **options):
    found = Folder(folder, **options)
    assert not found.problems, found.problems
    return [found[index].text for index in range(len(found))]


def problems(folder):
    return [str(problem).removeprefix(f"{folder}/") for problem in Folder(folder).problems]


# Tables.

CELLS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12).filter(str.strip)


@given(
    rows=st.tuples(CELLS, CELLS),
    separator=st.sampled_from(",;\t"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n"]),
    mark=st.booleans(),
    names=st.tuples(st.sampled_from(FILE_NAMES), st.sampled_from(TEXT_NAMES)),
    change=st.sampled_from([str.lower, str.upper, str.title]),
    name=st.sampled_from(["labels.csv", "labels.tsv", "metadata.csv"]),
)
def test_a_table_of_any_separator_header_and_quoting_gives_the_texts_that_were_written(
    tmp_path_factory, rows, separator, quoting, end, mark, names, change, name
):
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=separator, quoting=quoting, lineterminator=end)
    writer.writerow(map(change, names))
    writer.writerows(zip(("0.png", "1.png"), rows, strict=True))
    content = stream.getvalue().encode("utf-8-sig" if mark else "utf-8")
    assert texts(folder_with(tmp_path_factory.mktemp("table"), name, content)) == list(rows)


@given(rows=st.tuples(*[st.text(st.characters(min_codepoint=0xA1, max_codepoint=0xFF), min_size=1, max_size=9)] * 2))
def test_latin_1_is_read_when_it_is_named_and_never_guessed(tmp_path_factory, rows):
    content = "file;text\n" + "".join(f"{index}.png;{text}\n" for index, text in enumerate(rows))
    folder = folder_with(tmp_path_factory.mktemp("latin"), "labels.csv", content.encode("latin-1"))
    assert texts(folder, encoding="latin-1") == list(rows)
    with pytest.raises(ConfigError, match=r"labels\.csv:2: .*--encoding latin-1"):
        Folder(folder_with(folder, "labels.csv", ("file;text\n0.png;\xfc" + rows[0]).encode("latin-1")))


def test_a_byte_that_is_not_utf_8_is_named_with_its_line_and_the_option(tmp_path):
    content = "file,text\n0.png,Köln\n".encode() + "1.png,München\n".encode("latin-1")
    folder = folder_with(tmp_path, "labels.csv", content)
    with pytest.raises(ConfigError) as raised:
        Folder(folder)
    message = str(raised.value)
    assert message.startswith(f"{folder}/labels.csv:3: labels must be text in UTF-8, found byte 0xFC after '1.png,M'")
    assert "if this byte is 'ü', read it with --encoding latin-1" in message
    assert (raised.value.file, raised.value.found) == (str(folder / "labels.csv"), 0xFC)


def test_the_euro_sign_of_windows_is_read_as_cp1252(tmp_path):
    folder = folder_with(tmp_path, "labels.csv", "file,text\n0.png,5 €\n1.png,“a”\n".encode("cp1252"))
    assert texts(folder, encoding="cp1252") == ["5 €", "“a”"]
    with pytest.raises(ConfigError, match=r"one of utf-8, latin-1, cp1252, got 'koi8-r'"):
        Folder(folder, encoding="koi8-r")


def test_utf_16_is_refused_by_its_name(tmp_path):
    with pytest.raises(ConfigError, match=r"labels\.tsv:1: .*the file is UTF-16; save it as UTF-8"):
        Folder(folder_with(tmp_path, "labels.tsv", "file\ttext\n0.png\tone\n".encode("utf-16")))


@pytest.mark.parametrize("name", ["labels.jsonl", "metadata.jsonl"])
def test_json_lines_take_the_names_of_other_tools(tmp_path, name):
    rows = '{"File_Name": "0.png", "Ground_Truth": "a", "id": 7}\n{"image": "1.png", "text": "b", "label": "c"}\n'
    assert texts(folder_with(tmp_path, name, rows)) == ["a", "b"]


def test_file_and_text_win_over_their_synonyms(tmp_path):
    rows = "name,file,label,text\nx,0.png,y,one\nx,1.png,y,two\n"
    assert texts(folder_with(tmp_path, "labels.csv", rows)) == ["one", "two"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "labels.csv",
            "name,path,text\na,0.png,one\n",
            r"labels\.csv:1: columns 'name' and 'path' could both be the file",
        ),
        ("labels.csv", "FILE,file,text\n0.png,0.png,one\n", r"labels\.csv:1: column 'FILE' appears twice"),
        (
            "labels.csv",
            "0.png,one\n",
            r"labels\.csv:1: expected the columns 'file' and 'text' in the first line.*'0\.png'",
        ),
        ("labels.tsv", "", r"labels\.tsv:1: expected the columns 'file' and 'text' .*found none"),
        (
            "labels.jsonl",
            '{"gt": "a", "words": "b", "file": "c"}\n',
            r"labels\.jsonl:1: columns 'gt' and 'words' could",
        ),
    ],
)
def test_a_header_that_does_not_say_which_columns_are_meant_is_an_error(tmp_path, name, content, message):
    with pytest.raises(ConfigError, match=message):
        Folder(folder_with(tmp_path, name, content))


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("labels.jsonl", '{"file": "0.png"}', r":2: bad row \(expected file and text, found the keys 'file'\)"),
        (
            "labels.jsonl",
            '{"file": "0.png", "text": 7}',
            r":2: bad row \(expected a text that is a string, found int '7'\)",
        ),
        ("labels.csv", ",one", r":2: bad row \(no file, only the text 'one'\)"),
        ("labels.tsv", "0.png\tone\ttwo", r":2: bad row \(3 fields where .* put a text with a tab in double quotes\)"),
    ],
)
def test_a_bad_row_is_shown_with_its_line_and_what_was_found(tmp_path, name, row, message):
    head = {"labels.jsonl": '{"file": "1.png", "text": "two"}', "labels.csv": "file,text", "labels.tsv": "file\ttext"}
    found = problems(folder_with(tmp_path, name, f"{head[name]}\n{row}\n"))
    assert any(re.search(message, problem) for problem in found), found


def test_two_label_files_are_refused(tmp_path):
    folder_with(tmp_path, "labels.tsv", "file\ttext\n")
    with pytest.raises(ConfigError, match=r"has both labels\.tsv and metadata\.csv; keep one"):
        Folder(folder_with(tmp_path, "metadata.csv", "file_name,text\n"))


# A text file for each image.


def test_gt_files_label_the_best_variant_of_an_image_and_win_over_other_text_files(tmp_path):
    images = ("a.png", "a.bin.png", "b.bin.png", "b.nrm.png", "c.d.tif", "e.bin.png")
    folder = folder_with(tmp_path, "a.gt.txt", "Äa\n", images)
    for name in ("b", "c.d", "e"):
        (folder / f"{name}.gt.txt").write_text(f"text of {name}\r\n")
        (folder / f"{name}.txt").write_text("what a reader made of it")
    found = Folder(folder)
    assert not found.problems
    assert {found[i].image.name: found[i].text for i in range(len(found))} == {
        "a.png": "Äa",
        "b.nrm.png": "text of b",
        "c.d.tif": "text of c.d",
        "e.bin.png": "text of e",
    }


def test_an_image_or_a_gt_file_alone_is_a_problem(tmp_path):
    folder = folder_with(tmp_path, "9.gt.txt", "nine", ("0.png",))
    assert problems(folder) == [
        "0.png: no label (there is no 0.gt.txt)",
        "9.gt.txt: missing image (there is no image with this name)",
    ]


# Pages.

HEADS = {
    "alto2": '<alto xmlns="http://www.loc.gov/standards/alto/ns-v2#"{}>',
    "alto3": '<alto:alto xmlns:alto="http://www.loc.gov/standards/alto/ns-v3#"{}>',
    "alto4": '<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#"{}>',
    "page2013": '<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/2013-07-15"{}>',
    "page2019": '<pc:PcGts xmlns:pc="http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15"{}>',
}
LINES = (((10, 10), (90, 10), (90, 30), (10, 30)), "one two"), (((10, 40), (90, 45), (90, 65), (10, 60)), "three")


def page_image():
    """Two grey bands on white, and a black stroke that is outside of the second line's polygon but inside its box."""
    pixels = np.full((80, 100), 255, np.uint8)
    pixels[15:25, 20:80] = 90
    pixels[50:55, 20:80] = 90
    pixels[40:42, 80:90] = 0
    return Image.fromarray(pixels)


def alto_body(image, lines, page='WIDTH="100" HEIGHT="80"', unit="pixel"):
    rows = "".join(line if isinstance(line, str) else alto_line(*line) for line in lines)
    return (
        f"<Description><MeasurementUnit>{unit}</MeasurementUnit><sourceImageInformation><fileName>{image}</fileName>"
        f"</sourceImageInformation></Description><Layout><Page {page}><PrintSpace><TextBlock>{rows}</TextBlock></PrintSpace>"
        "</Page></Layout>"
    )


def alto_line(polygon, text, separator=","):
    points = " ".join(f"{x}{separator}{y}" for x, y in polygon)
    words = "<SP/>".join(f'<String CONTENT="{word}"/>' for word in text.split())
    return f'\n<TextLine ID="l"><Shape><Polygon POINTS="{points}"/></Shape>{words}</TextLine>'


def page_body(image, lines, size='imageWidth="100" imageHeight="80"'):
    rows = "".join(line if isinstance(line, str) else page_line(*line) for line in lines)
    return f'<Page imageFilename="{image}" {size}><TextRegion>{rows}</TextRegion></Page>'


def page_line(polygon, text):
    points = " ".join(f"{x},{y}" for x, y in polygon)
    return (
        f'\n<TextLine id="l"><Coords points="{points}"/><TextEquiv index="1"><Unicode>worse</Unicode></TextEquiv>'
        f'<TextEquiv index="0"><Unicode>{text}</Unicode></TextEquiv></TextLine>'
    )


def document(form, body):
    head = HEADS[form]
    name = head[1:].split()[0]
    prefix = name.rpartition(":")[0]
    if prefix:
        body = re.sub(r"<(/?)(?=\w)", rf"<\1{prefix}:", body)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head.format("")}{body}</{name}>'


def write_page(folder, form="alto4", lines=LINES, image="p.png", name="p.xml", **options):
    folder.mkdir(exist_ok=True)
    page_image().save(folder / "p.png")
    body = (alto_body if form.startswith("alto") else page_body)(image, lines, **options)
    (folder / name).write_text(document(form, body), encoding="utf-8")
    return folder


@pytest.mark.parametrize("form", HEADS)
def test_each_line_of_a_page_becomes_a_sample_with_the_crop_of_its_polygon(form, tmp_path):
    found = Folder(write_page(tmp_path, form))
    assert not found.problems
    assert [found[i].text for i in range(len(found))] == ["one two", "three"]
    first, second = (np.asarray(load_image(found[i].image)) for i in range(2))
    assert np.array_equal(first[..., 0], np.asarray(page_image())[10:30, 10:90])
    assert second.shape == (25, 80, 3)
    assert second.min() == 90, "what is outside of the polygon is painted with the background"
    assert found[0].source == f"{tmp_path}/p.xml:3"


def test_boxes_separators_and_units_of_alto_are_read(tmp_path):
    box = '<TextLine HPOS="10" VPOS="10" WIDTH="80" HEIGHT="20"><String CONTENT="a"/><String CONTENT="b"/></TextLine>'
    hyphen = '<TextLine HPOS="10" VPOS="10" WIDTH="80" HEIGHT="20"><String CONTENT="foot"/><HYP CONTENT="&#173;"/></TextLine>'
    with_spaces = alto_line(LINES[0][0], "one", separator=" ")
    folder = write_page(tmp_path / "pixel", lines=(box, hyphen, with_spaces))
    assert texts(folder) == ["a b", "foot-", "one"]
    tenths = box.replace("10", "100").replace("80", "800").replace("20", "200")
    scaled = Folder(write_page(tmp_path / "mm10", lines=(tenths,), page='WIDTH="1000" HEIGHT="800"', unit="mm10"))
    assert load_image(scaled[0].image).size == load_image(Folder(folder)[0].image).size == (80, 20)


def test_words_give_the_text_of_a_page_line_without_its_own(tmp_path):
    words = "".join(f"<Word><TextEquiv><Unicode>{word}</Unicode></TextEquiv></Word>" for word in ("uno", "due"))
    line = f'<TextLine id="w"><Coords points="10,10 90,10 90,30"/>{words}</TextLine>'
    assert texts(write_page(tmp_path, "page2019", (line,))) == ["uno due"]


@pytest.mark.parametrize(
    ("place", "image"),
    [
        ("p.xml", "file:///home/someone/p.png"),
        ("p.xml", "C:\\scans\\p.png"),
        ("page/p.xml", "p.png"),
        ("page/p.xml", "../p.png"),
    ],
)
def test_the_image_is_found_next_to_the_file_or_in_the_folder_above(tmp_path, place, image):
    (tmp_path / place).parent.mkdir(exist_ok=True)
    assert texts(write_page(tmp_path, image=image, name=place)) == ["one two", "three"]


TEXT = "<TextEquiv><Unicode>x</Unicode></TextEquiv>"
POLYGON = "10,10 90,10 90,30 10,30"
PAGE_FAULTS = {
    "a baseline only": (
        {"form": "page2013", "lines": ('\n<TextLine id="b"><Baseline points="1,1 9,1"/>' + TEXT + "</TextLine>",)},
        "p.xml:3: no outline (line 'b' has neither a polygon nor a box)",
    ),
    "no text": (
        {"form": "page2013", "lines": (f'\n<TextLine id="b"><Coords points="{POLYGON}"/></TextLine>',)},
        "p.xml:3: empty label (line 'b' has no text)",
    ),
    "no image": ({"image": "q.png"}, "p.xml: missing image (it names 'q.png', which is neither next to it nor"),
    "an image outside": ({"image": "../../../etc/q.png"}, "p.xml: missing image (it names '../../../etc/q.png'"),
    "another size": (
        {"page": 'WIDTH="200" HEIGHT="80"'},
        "p.xml: bad label file (it describes 200 x 80 pixels, but p.png has 100 x 80)",
    ),
    "an outline outside": (
        {"lines": ((((200, 10), (290, 10), (290, 30)), "x"),)},
        "p.xml:3: no outline (line 'l': the outline from (200, 10) to (290, 30) has nothing inside",
    ),
    "a point that is no number": (
        {"form": "page2019", "lines": ('\n<TextLine id="b"><Coords points="a,b"/>' + TEXT + "</TextLine>",)},
        "p.xml:3: no outline",
    ),
    "no lines": ({"lines": ()}, "p.xml: empty label (no lines of text)"),
}  # fmt: skip


@pytest.mark.parametrize("case", PAGE_FAULTS)
def test_a_page_that_cannot_be_used_is_a_problem_with_the_line_of_its_file(case, tmp_path):
    options, message = PAGE_FAULTS[case]
    found = problems(write_page(tmp_path, **options))
    assert any(problem.startswith(message) for problem in found), found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-40], r"xml:4: .*not well-formed XML"),
        (lambda text: text.replace("?>\n", '?>\n<!DOCTYPE x [<!ENTITY a "b">]>\n'), r"xml:2: .*a DTD or an entity"),
        (lambda text: text.replace("UTF-8", "nonsense"), r"unknown encoding"),
        (lambda text: text.replace("<PrintSpace>", "<a>" * 300), r"nested more than 200 deep"),
        (lambda text: text.replace("<Page ", "<Page/><Page "), r"2 pages, but one image"),
    ],
)
def test_an_xml_file_that_is_broken_or_unsafe_is_a_problem_and_the_others_are_read(tmp_path, change, message):
    folder = write_page(tmp_path)
    (folder / "p2.xml").write_text(change((folder / "p.xml").read_text()))
    found = Folder(folder)
    (problem,) = found.problems
    assert problem.fault == Fault.bad_file
    assert re.search(message, str(problem)), str(problem)
    assert len(found) == 2


def test_pages_need_an_image_and_every_image_a_page(tmp_path):
    folder = write_page(tmp_path)
    draw("x").save(folder / "alone.png")
    (folder / "p.png").write_bytes(b"no picture")
    (folder / "mets.xml").write_text("<mets/>")
    assert [re.sub(r"\(.*", "", problem) for problem in problems(folder)] == [
        "p.png: unreadable image ",
        "alone.png: no label ",
    ]


def test_the_digest_of_a_folder_of_pages_depends_on_the_outlines(tmp_path):
    folder = write_page(tmp_path)
    before = Folder(folder).digest()
    assert Folder(folder).digest() == before
    (folder / "p.xml").write_text((folder / "p.xml").read_text().replace("90,10", "80,10"))
    assert Folder(folder).digest() != before
