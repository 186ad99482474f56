"""A searchable PDF looks like the document, and pdfium finds each word of a reading where it was read."""

from __future__ import annotations

import ctypes
import io
import os
import struct
import unicodedata

import numpy as np
import pypdfium2
import pytest
from PIL import Image, ImageDraw, ImageFont
from pypdfium2 import raw

from tests.pdfs import by_hand, pdf_of, stream, with_a_broken_page
from vedcore.documents import child, open_pages, write_searchable_pdf
from vedcore.documents.invisible_font import Codes, font_file
from vedcore.errors import ImageError, InputError, SaveError
from vedcore.reader import Line, Reading, Word
from vedcore.reader.reading import Block


def box(left, top, right, bottom):
    return (left, top), (right, top), (right, bottom), (left, bottom)


def reading_of(size, *lines):
    """A reading whose lines are lists of (polygon, text)."""
    made = []
    for words in lines:
        parts = tuple(Word(polygon, text) for polygon, text in words)
        made.append(Line(words[0][0], " ".join(word.text for word in parts), 1.0, (), (), "eos", parts))
    block = Block(box(0, 0, *size), tuple(made))
    return Reading(block.text, 1.0, (), (), "eos", None, blocks=(block,), layout="page", size=size)


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def text_of(data, page=0):
    with pypdfium2.PdfDocument(data) as document:
        return document[page].get_textpage().get_text_range()


def place_of(data, wanted, page=0):
    """Where pdfium finds a text, in shares of the page as it is shown: left, top, right, bottom."""
    with pypdfium2.PdfDocument(data) as document:
        opened = document[page]
        text = opened.get_textpage()
        found = text.search(wanted).get_next()
        assert found is not None, f"{wanted!r} is not in {text.get_text_range()!r}"
        boxes = [text.get_charbox(index, loose=True) for index in range(found[0], sum(found))]
        points = []
        for left, bottom, right, top in boxes:
            for corner in ((left, bottom), (right, top)):
                x, y = ctypes.c_int(), ctypes.c_int()
                raw.FPDF_PageToDevice(opened, 0, 0, 100_000, 100_000, 0, *corner, x, y)
                points.append((x.value / 100_000, y.value / 100_000))
        across, down = zip(*points, strict=True)
        return min(across), min(down), max(across), max(down)


def rendered(data, page=0, dpi=72):
    with open_pages(data, pdf_dpi=dpi) as pages:
        return list(pages)[page].load()


def written(source, *readings, tmp_path):
    path = tmp_path / "out.pdf"
    assert write_searchable_pdf(source, path, readings) == ()
    return path.read_bytes()


WORDS = reading_of((400, 200), [(box(40, 50, 120, 80), "Quarterly"), (box(140, 50, 300, 80), "report")])


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("crop", [None, (150, 250, 350, 350)])
def test_a_word_is_found_where_it_was_read_on_a_pdf_page(rotate, crop, tmp_path):
    size = (200, 100) if crop is None else (500, 400)
    before = pdf_of("left", size=size, crop=crop, rotate=rotate)
    width, height = rendered(before).size
    words = [(box(0.1 * width, 0.2 * height, 0.5 * width, 0.4 * height), "Quarterly")]
    data = written(before, reading_of((width, height), words), tmp_path=tmp_path)
    assert place_of(data, "Quarterly") == pytest.approx((0.1, 0.2, 0.5, 0.4), abs=0.01)
    assert rendered(data).tobytes() == rendered(before).tobytes()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "GIF"])
@pytest.mark.parametrize("mode", ["RGB", "L", "1"])
def test_a_word_is_found_where_it_was_read_on_an_image(kind, mode, tmp_path):
    image = Image.effect_noise((400, 200), 200).convert("RGB")
    image.paste((200, 0, 0), (10, 10, 60, 60))
    image = image.convert("L" if (kind, mode) == ("JPEG", "1") else mode)
    source = encoded(image, kind)
    data = written(source, WORDS, tmp_path=tmp_path)
    assert place_of(data, "Quarterly") == pytest.approx((0.1, 0.25, 0.3, 0.4), abs=0.01)
    assert place_of(data, "report") == pytest.approx((0.35, 0.25, 0.75, 0.4), abs=0.01)
    assert text_of(data) == "Quarterly report"
    with open_pages(source) as pages:
        shown = np.asarray(next(iter(pages)).load()).astype(int)
    difference = np.abs(np.asarray(rendered(data, dpi=150)).astype(int) - shown)
    assert difference.max() <= (40 if kind == "JPEG" else 0)


def test_a_page_is_as_large_as_its_resolution_says(tmp_path):
    for options, size in (({"dpi": (300, 300)}, (96, 48)), ({}, (192, 96))):
        data = written(encoded(Image.new("L", (400, 200)), "PNG", **options), None, tmp_path=tmp_path)
        with pypdfium2.PdfDocument(data) as document:
            assert document[0].get_size() == pytest.approx(size, abs=0.01)


def test_a_page_is_no_larger_than_the_standard_allows(tmp_path):
    data = written(encoded(Image.new("L", (30_000, 30)), "PNG"), None, tmp_path=tmp_path)
    with pypdfium2.PdfDocument(data) as document:
        assert document[0].get_size() == pytest.approx((14_400, 14.4), abs=0.01)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_is_stored_as_it_is_and_shown_upright(orientation, tmp_path):
    image = Image.new("RGB", (400, 200), "white")
    ImageDraw.Draw(image).polygon([(20, 20), (380, 20), (20, 150)], (200, 30, 30))
    block = b"Exif\0\0II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    source = encoded(image, "JPEG", exif=block, quality=95)
    with open_pages(source) as pages:
        upright = next(iter(pages)).load()
    width, height = upright.size
    word = (box(0.1 * width, 0.2 * height, 0.5 * width, 0.4 * height), "upright")
    data = written(source, reading_of(upright.size, [word]), tmp_path=tmp_path)
    assert source in data
    shown = rendered(data, dpi=150)
    assert shown.size == upright.size
    assert np.abs(np.asarray(shown).astype(int) - np.asarray(upright)).mean() < 2
    assert place_of(data, "upright") == pytest.approx((0.1, 0.2, 0.5, 0.4), abs=0.01)


def test_a_cmyk_jpeg_is_stored_in_its_visible_colours(tmp_path):
    source = encoded(Image.new("CMYK", (40, 20), (0, 200, 200, 0)), "JPEG")
    data = written(source, None, tmp_path=tmp_path)
    with open_pages(source) as pages:
        assert rendered(data, dpi=150).tobytes() == next(iter(pages)).load().tobytes()


TEXTS = [
    "Größe",
    "„49,90",
    "€“",
    "naïve",
    "–",
    "日本語",
    "Ελλάδα",
    "Привет",
    "😀",
    "e\u0301",
    "a\u00a0b",
    "100 %",
    "שלום",
    "סוף",
]


@pytest.mark.parametrize("make", [lambda: pdf_of(""), lambda: encoded(Image.new("L", (1000, 1000)), "PNG")])
def test_any_text_can_be_found(make, tmp_path):
    lines = [[(box(10, 60 * n + 10, 300, 60 * n + 50), text)] for n, text in enumerate(TEXTS)]
    data = written(make(), reading_of((1000, 1000), *lines), tmp_path=tmp_path)
    found = text_of(data)
    plain = unicodedata.normalize("NFKC", found)
    for text in TEXTS:
        assert unicodedata.normalize("NFKC", text) in plain, (text, found)


@pytest.mark.parametrize("make", [lambda: pdf_of(""), lambda: encoded(Image.new("L", (400, 200)), "PNG")])
def test_lines_are_read_in_order_and_phrases_are_found(make, tmp_path):
    first = [(box(10 + 50 * n, 20, 55 + 50 * n, 40), word) for n, word in enumerate(["to", "be", "or", "not"])]
    second = [(box(10, 60, 30, 80), "to"), (box(30, 60, 50, 80), "be")]  # no gap between the boxes
    data = written(make(), reading_of((400, 200), first, second), tmp_path=tmp_path)
    assert text_of(data).split("\r\n") == ["to be or not", "to be"]
    place_of(data, "be or not")


def test_a_phrase_from_right_to_left_is_found(tmp_path):
    line = [(box(200, 20, 290, 40), "שלום"), (box(100, 20, 190, 40), "עולם")]
    data = written(pdf_of(""), reading_of((400, 200), line), tmp_path=tmp_path)
    assert text_of(data) == "שלום עולם"
    place_of(data, "שלום עולם")


@pytest.mark.parametrize("angle", [0, 10, 90, 180, 270])
@pytest.mark.parametrize(
    "make", [lambda: pdf_of("", size=(400, 400)), lambda: encoded(Image.new("L", (400, 400)), "PNG")]
)
def test_turned_text_is_found_at_its_place(angle, make, tmp_path):
    turn = np.deg2rad(angle)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    corners = np.array(box(-100, -10, 100, 10)) @ matrix.T + 200
    data = written(make(), reading_of((400, 400), [(tuple(map(tuple, corners)), "turned")]), tmp_path=tmp_path)
    expected = (*corners.min(0) / 400, *corners.max(0) / 400)
    assert place_of(data, "turned") == pytest.approx(expected, abs=0.015)


def test_a_reading_without_lines_is_on_the_page_too(tmp_path):
    whole = Reading("first line\nsecond line", 1.0, (), (), "eos", None, size=(400, 200))
    data = written(encoded(Image.new("L", (400, 200)), "PNG"), whole, tmp_path=tmp_path)
    assert text_of(data).split("\r\n") == ["first line", "second line"]
    assert place_of(data, "second line")[1] == pytest.approx(0.5, abs=0.01)


def test_a_line_without_words_is_placed_as_a_whole(tmp_path):
    line = Line(box(40, 50, 300, 80), "a whole line", 1.0, (), (), "eos")
    reading = Reading("", 1.0, (), (), "eos", None, blocks=(Block(box(0, 0, 9, 9), (line,)),), size=(400, 200))
    data = written(pdf_of(""), reading, tmp_path=tmp_path)
    assert place_of(data, "a whole line") == pytest.approx((0.1, 0.25, 0.75, 0.4), abs=0.01)


@pytest.mark.parametrize("polygon", [box(5, 5, 5, 5), box(5, 5, 50, 5), box(5, 5, 5, 50), box(50, 50, 5, 5)])
def test_a_flat_polygon_is_no_error(polygon, tmp_path):
    for source in (pdf_of(""), encoded(Image.new("L", (100, 50)), "PNG")):
        written(source, reading_of((100, 50), [(polygon, "flat")]), tmp_path=tmp_path)


def test_text_ends_up_upright_on_a_page_that_leaves_its_matrix_changed(tmp_path):
    for content in (b"0.5 0 0 -0.5 30 80 cm 0 0 20 20 re f", b"q 2 0 0 2 9 9 cm 0 0 5 5 re f", b"BT 10 0 0 10 0 0 Tm"):
        page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 100 100]/Contents 4 0 R>>"
        before = by_hand(
            b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>", page, stream(content)
        )
        data = written(before, reading_of((100, 100), [(box(10, 20, 50, 40), "placed")]), tmp_path=tmp_path)
        assert place_of(data, "placed") == pytest.approx((0.1, 0.2, 0.5, 0.4), abs=0.01)
        assert rendered(data).tobytes() == rendered(before).tobytes()


def test_pages_that_share_their_content_get_their_own_text(tmp_path):
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 100 100]/Contents 5 0 R/Resources 6 0 R>>"
    kids = b"<</Type/Pages/Kids[3 0 R 4 0 R]/Count 2>>"
    for contents in (stream(b"0 0 20 20 re f"), b"[7 0 R]"):
        before = by_hand(b"<</Type/Catalog/Pages 2 0 R>>", kids, page, page, contents, b"<<>>", stream(b"0 0 9 9 re f"))
        readings = [reading_of((100, 100), [(box(10, 20, 50, 40), text)]) for text in ("first", "second")]
        data = written(before, *readings, tmp_path=tmp_path)
        assert [text_of(data, page) for page in (0, 1)] == ["first", "second"]
        assert rendered(data, 1).tobytes() == rendered(before, 1).tobytes()


def test_a_pdf_keeps_its_text_and_its_outline(tmp_path):
    catalog = b"<</Type/Catalog/Pages 2 0 R/Outlines 4 0 R>>"
    outline = b"<</Type/Outlines/First 5 0 R/Last 5 0 R/Count 1>>"
    item = b"<</Title(Chapter)/Parent 4 0 R/Dest[3 0 R/Fit]>>"
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 100 100]>>"
    before = by_hand(catalog, b"<</Type/Pages/Kids[3 0 R]/Count 1>>", page, outline, item)
    data = written(before, reading_of((100, 100), [(box(10, 20, 50, 40), "new")]), tmp_path=tmp_path)
    with pypdfium2.PdfDocument(data) as document:
        assert [mark.get_title() for mark in document.get_toc()] == ["Chapter"]
    assert "old" in text_of(written(pdf_of("old"), WORDS, tmp_path=tmp_path))


def test_a_page_without_a_reading_is_copied(tmp_path):
    before = pdf_of("one", "two", "three")
    data = written(before, WORDS, None, WORDS, tmp_path=tmp_path)
    assert text_of(data, 1) == "two"
    assert "Quarterly" in text_of(data, 2)
    frames = [Image.new("L", (40, 20), 50 * n) for n in range(3)]
    data = written(
        encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]), None, WORDS, None, tmp_path=tmp_path
    )
    assert [text_of(data, page) for page in range(3)] == ["", "Quarterly report", ""]
    assert rendered(data, 2).getpixel((2, 2)) == (100, 100, 100)


def test_a_page_that_cannot_be_read_is_reported_and_the_others_are_written(tmp_path):
    path = tmp_path / "out.pdf"
    assert write_searchable_pdf(with_a_broken_page(), path, [WORDS, WORDS, WORDS]) == (2,)
    assert "Quarterly" in text_of(path.read_bytes(), 2)
    frames = [Image.new("L", (40, 20)) for _ in range(3)]
    data = bytearray(encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]))
    with open_pages(bytes(data)) as pages:
        second = pages._loader._positions[1]
    at = data.index((259).to_bytes(2, "little"), second)
    data[at + 8 : at + 10] = (50000).to_bytes(2, "little")
    assert write_searchable_pdf(bytes(data), path, [WORDS, None, WORDS]) == (2,)
    with pypdfium2.PdfDocument(path) as document:
        assert len(document) == 3


def test_readings_of_images_may_come_one_by_one(tmp_path):
    frames = [Image.new("L", (40, 20)) for _ in range(3)]
    source = encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    path = tmp_path / "out.pdf"
    assert write_searchable_pdf(source, path, (WORDS for _ in range(3))) == ()


@pytest.mark.parametrize("make", [lambda: pdf_of("a", "b"), lambda: encoded(Image.new("L", (4, 4)), "PNG")])
@pytest.mark.parametrize("count", [0, 5])
def test_there_is_a_reading_for_each_page(make, count, tmp_path):
    path = tmp_path / "out.pdf"
    path.write_text("before")
    with pytest.raises(InputError, match=r"readings: expected [12], one for each page of .* found"):
        write_searchable_pdf(make(), path, [None] * count)
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["out.pdf"]


def test_an_error_of_the_readings_is_passed_on(tmp_path):
    def readings():
        raise ImageError("from the reader")
        yield

    for source in (pdf_of("a"), encoded(Image.new("L", (4, 4)), "PNG")):
        with pytest.raises(ImageError, match="from the reader"):
            write_searchable_pdf(source, tmp_path / "out.pdf", readings())
        assert os.listdir(tmp_path) == []


def test_the_document_itself_is_never_overwritten(tmp_path):
    for name, data in (("a.pdf", pdf_of("a")), ("a.png", encoded(Image.new("L", (4, 4)), "PNG"))):
        path = tmp_path / name
        path.write_bytes(data)
        (tmp_path / "link").unlink(missing_ok=True)
        os.link(path, tmp_path / "link")
        (tmp_path / "symlink").unlink(missing_ok=True)
        os.symlink(path, tmp_path / "symlink")
        for target in (path, tmp_path / "link", tmp_path / "symlink", tmp_path / "." / name):
            with pytest.raises(SaveError, match="is the document that is read; name another file"):
                write_searchable_pdf(path, target, [None])
        assert path.read_bytes() == data


@pytest.mark.parametrize("prepare", [lambda path: path.mkdir(), os.mkfifo, lambda path: path.symlink_to("/dev/null")])
def test_only_a_regular_file_is_replaced(prepare, tmp_path):
    prepare(tmp_path / "out.pdf")
    with pytest.raises(SaveError, match="not a regular file"):
        write_searchable_pdf(pdf_of("a"), tmp_path / "out.pdf", [None])


@pytest.mark.parametrize("path", ["missing/out.pdf", "a\0b", "x" * 300])
def test_a_path_that_cannot_be_written_is_a_save_error(path, tmp_path):
    with pytest.raises(SaveError):
        write_searchable_pdf(pdf_of("a"), tmp_path / path, [None])
    assert os.listdir(tmp_path) == []


def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path):
    path = tmp_path / "out.pdf"
    path.write_bytes(b"")
    path.chmod(0o640)
    write_searchable_pdf(pdf_of("a"), path, [None])
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    path = tmp_path / "out.pdf"
    path.write_text("before")
    for source in (pdf_of("a"), encoded(Image.new("L", (4, 4)), "PNG")):
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", full)
            with pytest.raises(SaveError, match=r"No space left on device.*unchanged"):
                write_searchable_pdf(source, path, [None])
        assert path.read_text() == "before"
        assert os.listdir(tmp_path) == ["out.pdf"]


def test_a_page_at_which_pdfium_dies_is_left_without_text(tmp_path, monkeypatch):
    whole, ask = [], child.Child.ask

    def dies_at_the_second_page(self, request, *arguments, **options):
        whole.append(request["do"])
        if request["do"] == "text" and request["page"] == 1:
            self._process.kill()
        return ask(self, request, *arguments, **options)

    monkeypatch.setattr(child.Child, "ask", dies_at_the_second_page)
    path = tmp_path / "out.pdf"
    assert write_searchable_pdf(pdf_of("a", "b", "c"), path, [WORDS] * 3) == (2,)
    assert ["Quarterly" in text_of(path.read_bytes(), page) for page in range(3)] == [True, False, True]
    assert whole.count("save") == 1


def test_a_pdf_that_pdfium_cannot_save_is_not_written(tmp_path, monkeypatch):
    ask = child.Child.ask

    def dies_at_the_end(self, request, *arguments, **options):
        if request["do"] == "save":
            self._process.kill()
        return ask(self, request, *arguments, **options)

    monkeypatch.setattr(child.Child, "ask", dies_at_the_end)
    with pytest.raises(SaveError, match="not written as a searchable PDF; pdfium: crashed"):
        write_searchable_pdf(pdf_of("a"), tmp_path / "out.pdf", [WORDS])
    assert os.listdir(tmp_path) == []


def test_a_pdf_at_whose_pages_pdfium_dies_is_given_up(tmp_path, monkeypatch):
    ask = child.Child.ask

    def dies_at_each_page(self, request, *arguments, **options):
        if request["do"] == "text":
            self._process.kill()
        return ask(self, request, *arguments, **options)

    monkeypatch.setattr(child.Child, "ask", dies_at_each_page)
    with pytest.raises(SaveError, match="pdfium fails at 5 pages or more; repair"):
        write_searchable_pdf(pdf_of(*"abcdefg"), tmp_path / "out.pdf", [WORDS] * 7)
    assert os.listdir(tmp_path) == []


def test_the_invisible_font_is_a_font():
    face = ImageFont.truetype(io.BytesIO(font_file()), 100)
    assert face.getlength(" ") == 100
    assert face.getmask("  ").getbbox() is None


def test_a_document_has_a_bounded_number_of_characters():
    codes = Codes()
    codes.of("".join(map(chr, range(65_535))))
    with pytest.raises(ValueError, match="more than 65535 different characters"):
        codes.of(chr(65_535))


def test_the_same_document_gives_the_same_file(tmp_path):
    source = encoded(Image.new("RGB", (40, 20), (9, 8, 7)), "PNG")
    assert written(source, WORDS, tmp_path=tmp_path) == written(source, WORDS, tmp_path=tmp_path)
