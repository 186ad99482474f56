"""``vedcore read`` reads every page of every document and writes each format where it belongs."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from vedcore import BlockRegion, LineRegion, PageRegion, Reader, cli
from vedcore.cli.read import Layout
from vedcore.reader import LayoutName
from vedcore.reader.polygons import rectangle

ROOT = Path(__file__).parent
LINES = ROOT / "golden/lines"
EXPECTED = json.loads((LINES / "expected.json").read_text())[:5]
PATHS = [LINES / line["file"] for line in EXPECTED]
TEXTS = [line["transformers_greedy_text"] for line in EXPECTED]
ROW = 60
"""The height of a line on a page of these tests."""


def halves(pixels):
    """A segmenter for pages that have a line of text in each strip of ``ROW`` pixels; blank strips have none."""
    height, width = pixels.shape[:2]
    lines = []
    for top in range(0, height, ROW):
        ink = np.argwhere(pixels[top : top + ROW].min(axis=2) < 100)
        if len(ink):
            (above, left), (below, right) = ink.min(axis=0) - 3, ink.max(axis=0) + 4
            box = (max(left, 0), top + max(above, 0), min(right, width), top + below)
            x0, y0, x1, y1 = map(int, box)
            corners = ((x0, y0), (x1, y0), (x1, y1), (x0, y1))
            polygon = tuple((float(x), float(y)) for x, y in corners)
            lines.append(LineRegion(polygon, pixels[y0:y1, x0:x1]))
    polygon = rectangle((width, height))
    return PageRegion(polygon, (BlockRegion(polygon, tuple(lines)),) if lines else ())


@pytest.fixture(scope="module")
def loaded():
    return Reader.load("line-reader")


@pytest.fixture(autouse=True)
def with_segmenter(loaded, monkeypatch):
    """The line reader with the segmenter of these tests."""

    def load(name, **_):
        reader = Reader(loaded.model, loaded.processor, loaded.cut_rule, "auto")
        monkeypatch.setattr(
            type(reader), "segmenter", property(lambda self: halves, lambda self, value: None), raising=False
        )
        return reader

    monkeypatch.setattr(Reader, "load", load)


def draw(*indexes):
    """A page with these golden lines, one in each strip."""
    page = Image.new("RGB", (420, ROW * max(2, len(indexes))), "white")
    for row, index in enumerate(indexes):
        with Image.open(PATHS[index]) as line:
            page.paste(line.convert("RGB"), (20, row * ROW + 10))
    return page


def read(*arguments):
    return CliRunner().invoke(cli.app, ["read", *map(str, arguments)])


@pytest.fixture
def scan(tmp_path):
    """A TIFF of three pages; the second has no text."""
    path = tmp_path / "in" / "scan.tif"
    path.parent.mkdir()
    first, *others = draw(0, 1), Image.new("RGB", (420, 120), "white"), draw(2, 3)
    first.save(path, save_all=True, append_images=others, dpi=(150, 150))
    return path


def test_the_choices_of_the_command_are_the_layouts():
    assert tuple(Layout) == LayoutName.__args__


def test_every_page_is_read_and_a_form_feed_separates_them(scan):
    result = read(scan)
    assert result.exit_code == 0
    pages = result.stdout.split("\f")
    assert [page.strip("\n") for page in pages] == ["\n".join(TEXTS[:2]), "", "\n".join(TEXTS[2:4])]
    assert result.stderr == f"vedcore: {scan}, page 2: the image is blank\n"


def test_lines_are_a_table_and_a_page_makes_it_text(tmp_path):
    draw(0, 1).save(tmp_path / "page.png")
    assert "confidence" in read(PATHS[0], PATHS[1]).stdout
    mixed = read(PATHS[0], tmp_path / "page.png").stdout
    assert mixed == f"{TEXTS[0]}\n\f{TEXTS[0]}\n{TEXTS[1]}\n"


def test_jsonl_has_the_page_its_size_and_the_place_of_each_line(scan):
    rows = [json.loads(line) for line in read(scan, "--format", "jsonl").stdout.splitlines()]
    assert [(row["page"], row["layout"], row["size"], row["dpi"]) for row in rows] == [
        (number, "page", [420, 120], 150) for number in (1, 2, 3)
    ]
    assert [row["warnings"] for row in rows] == [[], ["the image is blank"], []]
    lines = [line for block in rows[2]["blocks"] for line in block["lines"]]
    assert [line["text"] for line in lines] == TEXTS[2:4]
    for row, line in enumerate(lines):
        assert [word["text"] for word in line["words"]] == line["text"].split()
        assert all(row * ROW <= y <= (row + 1) * ROW for _, y in line["polygon"])


def test_reading_from_python_gives_the_same_pages(scan, loaded):
    reader = Reader(loaded.model, loaded.processor, loaded.cut_rule, "auto", halves)
    readings = list(reader.read_document(scan, layout="page"))
    assert [(r.page, r.size, r.dpi, r.source) for r in readings] == [(n, (420, 120), 150, scan) for n in (1, 2, 3)]
    (first,) = reader.read([scan])
    assert (first.page, first.text) == (None, readings[0].text)
    (image,) = reader.read_document(PATHS[0])
    assert (image.page, image.text) == (1, TEXTS[0])


# Where it is written.


@pytest.mark.parametrize(("form", "suffix"), [("text", ".txt"), ("hocr", ".hocr"), ("alto", ".xml"), ("pdf", ".pdf")])
def test_several_documents_are_one_file_each_in_the_output_folder(scan, tmp_path, form, suffix):
    shutil.copy(PATHS[0], scan.parent / "line.png")
    result = read(scan.parent, "--output", tmp_path / "out", "--format", form)
    assert (result.exit_code, result.stdout) == (0, "")
    assert sorted(os.listdir(tmp_path / "out")) == [f"line{suffix}", f"scan{suffix}"]
    if form != "pdf":
        assert TEXTS[2].split()[0] in (tmp_path / "out" / f"scan{suffix}").read_text()
    assert (tmp_path / "out" / f"scan{suffix}").stat().st_size > 50


def test_recursive_reads_the_folders_of_a_folder_and_keeps_them(scan, tmp_path):
    inner = scan.parent / "a" / "b"
    inner.mkdir(parents=True)
    shutil.copy(PATHS[1], inner / "x.PNG")
    (inner / "notes.doc").touch()
    flat = read(scan.parent, "-o", tmp_path / "one", "-f", "text")
    assert (flat.exit_code, os.listdir(tmp_path / "one")) == (0, ["scan.txt"])
    assert "skipped folders (--recursive reads them): a" in flat.stderr
    result = read(scan.parent, "--recursive", "-o", tmp_path / "out", "-f", "text")
    assert result.exit_code == 0
    assert (tmp_path / "out/a/b/x.txt").read_text() == f"{TEXTS[1]}\n"
    assert (tmp_path / "out/scan.txt").is_file()
    assert "skipped, because not an image or a document: a/b/notes.doc" in result.stderr


def test_documents_with_one_stem_keep_their_suffix(tmp_path):
    for name in ("a.png", "a.bmp", "b.png"):
        Image.open(PATHS[0]).convert("RGB").save(tmp_path / name)
    read(tmp_path, "-o", tmp_path / "out", "-f", "text")
    assert sorted(os.listdir(tmp_path / "out")) == ["a.bmp.txt", "a.png.txt", "b.txt"]
    result = read(tmp_path / "a.png", tmp_path / "a.png", "-o", tmp_path / "out", "-f", "text")
    assert result.exit_code == 2
    assert "would be the output of 2 documents" in result.stderr


def test_a_file_in_a_folder_that_is_read_is_never_written_over(tmp_path):
    shutil.copy(PATHS[0], tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("the label")
    for output in (tmp_path, tmp_path / "a.txt"):
        result = read(tmp_path, "-o", output, "-f", "text")
        assert result.exit_code == 2
        assert "a file of that name is in the folder that is read" in result.stderr
    assert (tmp_path / "a.txt").read_text() == "the label"
    assert read(tmp_path, "-o", tmp_path, "-f", "hocr").exit_code == 0
    assert (tmp_path / "a.hocr").is_file()


def test_a_suffix_without_a_format_is_refused(tmp_path):
    result = read(PATHS[0], "-o", tmp_path / "a.docx")
    assert result.exit_code == 2
    assert "no format has the suffix .docx; add --format, or use one of .txt" in result.stderr
    result = read(PATHS[0], PATHS[1], "-o", tmp_path / "all.hocr")
    assert result.exit_code == 2
    assert "all.hocr: 2 documents need a folder" in result.stderr
    assert os.listdir(tmp_path) == []


def test_a_format_of_documents_needs_a_folder_for_several(tmp_path):
    for form in ("hocr", "alto", "pdf"):
        result = read(PATHS[0], PATHS[1], "-f", form)
        assert result.exit_code == 2
        assert f"--format {form} needs --output" in result.stderr


def test_one_document_can_be_printed(scan):
    assert read(scan, "-f", "hocr").stdout.startswith("<?xml")
    assert read(scan, "-f", "alto").stdout.rstrip().endswith("</alto>")


def test_nothing_is_written_into_the_folder_of_the_model(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    for output in (model / "config.json", model / "new.txt"):
        result = read(PATHS[0], "--model", model, "-f", "text", "-o", output)
        assert result.exit_code == 2
        assert "it is in the folder of the model" in result.stderr
    assert (model / "config.json").read_text() == "{}"


def test_an_interrupted_run_leaves_whole_files_only(scan, tmp_path, monkeypatch):
    each = Reader.each

    def interrupted(self, images, **options):
        for index, reading in enumerate(each(self, images, **options)):
            if index == 2:
                raise KeyboardInterrupt
            yield reading

    monkeypatch.setattr(Reader, "each", interrupted)
    shutil.copy(PATHS[0], scan.parent / "line.png")
    result = read(scan.parent / "line.png", scan, "-o", tmp_path / "out", "-f", "hocr")
    assert result.exit_code == 130
    assert os.listdir(tmp_path / "out") == ["line.hocr"]


# What goes wrong.


@pytest.fixture
def broken(scan):
    """The TIFF with a second page whose pixels lie outside the file."""
    with Image.open(scan) as image:
        image.seek(1)
        strip = image.tag_v2[273][0]  # StripOffsets
    entry = (273).to_bytes(2, "little") + (4).to_bytes(2, "little") + (1).to_bytes(4, "little")
    data = scan.read_bytes()
    assert data.count(entry + strip.to_bytes(4, "little")) == 1
    scan.write_bytes(data.replace(entry + strip.to_bytes(4, "little"), entry + (2**31).to_bytes(4, "little")))
    return scan


def test_a_broken_page_is_one_line_and_the_others_are_read(broken):
    result = read(broken, "-f", "jsonl")
    assert result.exit_code == 1
    assert [json.loads(line)["page"] for line in result.stdout.splitlines()] == [1, 3]
    assert result.stderr.startswith(f"vedcore: {broken}, page 2: ")
    assert result.stderr.count("\n") == 1


def test_warnings_and_skipped_files_fail_only_with_strict(tmp_path):
    draw(0, 1).save(tmp_path / "good.png")
    assert read(tmp_path, "--strict").exit_code == 0
    (tmp_path / "notes.txt").write_text("no image")
    lenient, strict = read(tmp_path), read(tmp_path, "--strict")
    assert (lenient.exit_code, strict.exit_code) == (0, 1)
    assert lenient.stderr == f"vedcore: {tmp_path}: skipped, because not an image or a document: notes.txt\n"
    (tmp_path / "notes.txt").unlink()
    Image.new("RGB", (400, 300), "white").save(tmp_path / "blank.png")
    lenient, strict = read(tmp_path), read(tmp_path, "--strict")
    assert (lenient.exit_code, strict.exit_code) == (0, 1)
    assert lenient.stderr == f"vedcore: {tmp_path / 'blank.png'}: the image is blank\n"
