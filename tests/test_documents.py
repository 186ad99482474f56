"""The pages of image files, TIFF files and PDF files: each loads or gives its own error, whatever the other pages do."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import io
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from PIL import Image

from tests.pdfs import by_hand, encrypted, pdf_of, stream, with_a_broken_page
from vedcore import ImageError, VedcoreError
from vedcore.documents import child, open_pages, pages
from vedcore.vision import load_image


def children():
    return {process.pid for process in psutil.Process().children()}


@pytest.fixture(autouse=True)
def _no_child_is_left():
    before = children()
    yield
    gc.collect()
    assert children() <= before


def tiff_of(*sizes, **options):
    first, *others = [Image.new("L", size, 200) for size in sizes]
    file = io.BytesIO()
    first.save(file, "TIFF", save_all=True, append_images=others, **options)
    return file.getvalue()


def ink(image):
    """The box of the dark pixels: left, top, right, bottom."""
    dark = np.asarray(image.convert("L")) < 128
    rows, columns = np.flatnonzero(dark.any(1)), np.flatnonzero(dark.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


def test_the_pages_of_a_tiff_are_its_frames(tmp_path):
    data = tiff_of((30, 20), (20, 30), (10, 10), dpi=(300, 300), compression="tiff_lzw")
    path = tmp_path / "scan.tif"
    path.write_bytes(data)
    for source in (data, path, str(path)):
        with open_pages(source) as document:
            assert len(document) == 3
            assert [page.load().size for page in document] == [(30, 20), (20, 30), (10, 10)]
            assert [page.number for page in document] == [1, 2, 3]


def test_the_resolution_of_a_page_is_known_when_it_is_loaded():
    for data, dpi in ((tiff_of((9, 9), dpi=(204, 98)), 204), (tiff_of((9, 9)), None), (pdf_of("a"), 150)):
        with open_pages(data, pdf_dpi=150) as document:
            [page] = document
            assert page.dpi is None
            page.load()
            assert page.dpi == dpi


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_an_image_file_is_a_document_of_one_page(kind, tmp_path):
    path = tmp_path / "photo"
    Image.new("RGB", (12, 8), (1, 2, 3)).save(path, kind)
    with open_pages(path) as document:
        [page] = document
        assert len(document) == 1
        assert page.load().tobytes() == load_image(path).tobytes()


def test_thumbnails_and_masks_are_no_pages():
    file = io.BytesIO()
    frames = [Image.new("L", (20, 20)) for _ in range(4)]
    for kind, frame in zip((0, 1, 2, 4), frames, strict=True):
        frame.encoderinfo = {"tiffinfo": {254: kind}}
    frames[0].save(file, "TIFF", save_all=True, append_images=frames[1:])
    assert len(open_pages(file.getvalue())) == 2


def test_the_pages_of_a_pdf_are_rendered_at_the_resolution_asked_for(tmp_path):
    path = tmp_path / "two.pdf"
    path.write_bytes(pdf_of("one", "two"))
    for source in (path, path.read_bytes(), b"junk before the header\n" + path.read_bytes()):
        with open_pages(source, pdf_dpi=144) as document:
            images = [page.load() for page in document]
        assert [image.size for image in images] == [(400, 200), (400, 200)]
        assert images[0].getpixel((0, 0)) == (255, 255, 255)
        left, _, _, bottom = ink(images[0])
        assert abs(left - 42) <= 2
        assert abs(bottom - 120) <= 2


@pytest.mark.parametrize(("rotate", "size"), [(0, (200, 100)), (90, (100, 200)), (180, (200, 100)), (270, (100, 200))])
def test_a_turned_and_cropped_page_looks_as_in_a_viewer(rotate, size):
    plain = open_pages(pdf_of("left"), pdf_dpi=72)
    turned = open_pages(pdf_of("left", size=(500, 400), crop=(150, 250, 350, 350), rotate=rotate), pdf_dpi=72)
    with plain, turned:
        [expected], [found] = plain, turned
        image = found.load()
        assert image.size == size
        assert ink(image.rotate(rotate, expand=True)) == pytest.approx(ink(expected.load()), abs=1)


def test_form_fields_and_annotations_are_rendered():
    field = b"<</Type/Annot/Subtype/Widget/FT/Tx/T(a)/Rect[10 10 90 90]/AP<</N 4 0 R>>/F 4/P 3 0 R>>"
    square = stream(b"0 0 0 rg 0 0 80 80 re f", b"/Type/XObject/Subtype/Form/BBox[0 0 80 80]")
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 100 100]/Annots[5 0 R]>>"
    catalog = b"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[5 0 R]>>>>"
    with open_pages(
        by_hand(catalog, b"<</Type/Pages/Kids[3 0 R]/Count 1>>", page, square, field), pdf_dpi=72
    ) as document:
        [page] = document
        assert ink(page.load()) == pytest.approx((10, 10, 89, 89), abs=1)


def test_a_page_with_too_many_pixels_gets_a_lower_resolution():
    with open_pages(pdf_of("poster", size=(14400, 14400))) as document:
        [page] = document
        image = page.load()
        assert image.width * image.height <= 64_000_000
        assert page.dpi == pytest.approx(image.width / 14400 * 72, rel=1e-3)


def test_a_page_may_be_long():
    with open_pages(pdf_of("long", size=(72, 7200))) as document:
        assert [page.load().size for page in document] == [(300, 30000)]


def test_an_absurd_page_is_refused_with_a_remedy():
    with open_pages(pdf_of("absurd", size=(100_000, 100_000))) as document:
        [page] = document
        with pytest.raises(ImageError, match=r"page 1: is too large to be rendered at 30 dpi; split"):
            page.load()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (encrypted(), r"is encrypted with a password; remove it, e.g. with: qpdf --decrypt"),
        (b"%PDF-1.7\nnothing", r"is not a PDF that can be read; repair it, e.g. with: qpdf"),
        (b"", r"expected an image \(PNG, .*\) or a PDF, found an empty file"),
        (b"hello", r"found a file that begins with b'hello'"),
        (
            by_hand(b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[]/Count 0>>"),
            r"is not a PDF that can be read",
        ),
    ],
)
def test_a_document_that_cannot_be_opened_is_an_error_with_a_remedy(data, message, tmp_path, capfd):
    path = tmp_path / "bad.pdf"
    path.write_bytes(data)
    for source in (data, path):
        with pytest.raises(ImageError, match=message) as caught:
            open_pages(source)
        assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert caught.value.file == str(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("source", [None, 3, [b"a"], "no such file", ".", "a\0b"])
def test_a_source_that_is_no_document_is_an_image_error(source):
    with pytest.raises(ImageError):
        open_pages(source)


@pytest.mark.parametrize("dpi", [0, -1, float("nan"), 1e9])
def test_a_resolution_out_of_range_is_refused(dpi):
    with pytest.raises(VedcoreError, match="dpi: expected 30 to 10000"):
        open_pages(pdf_of("a"), pdf_dpi=dpi)


def test_a_pdf_without_pypdfium2_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImageError, match=r"needs pypdfium2; install it with: pip install 'vedcore\[pdf\]'"):
        open_pages(pdf_of("a"))


def test_a_broken_page_of_a_pdf_has_its_own_error(tmp_path):
    path = tmp_path / "scan.pdf"
    path.write_bytes(with_a_broken_page())
    with open_pages(path) as document:
        assert len(document) == 3
        first, broken, last = document
        with pytest.raises(
            ImageError, match=r"scan.pdf, page 2: is damaged; repair the file, e.g. with: qpdf"
        ) as caught:
            broken.load()
        assert caught.value.file == str(path)
        assert first.load().size == last.load().size


def test_a_broken_frame_of_a_tiff_has_its_own_error(tmp_path):
    data = bytearray(tiff_of((30, 20), (30, 20), (30, 20), compression="tiff_lzw"))
    path = tmp_path / "scan.tif"
    with open_pages(bytes(data)) as document:
        second = document._loader._positions[1]
    at = data.index((259).to_bytes(2, "little"), second)  # the compression
    data[at + 8 : at + 10] = (50000).to_bytes(2, "little")
    path.write_bytes(data)
    with open_pages(path) as document:
        first, broken, last = document
        with pytest.raises(ImageError, match=r"scan.tif, page 2: TIFF compression 50000 .* convert it"):
            broken.load()
        assert first.load().size == last.load().size == (30, 20)


def test_a_document_holds_no_pages():
    with open_pages(tiff_of(*[(400, 400)] * 20)) as document:
        for page in document:
            page.load()
        held = [value for value in gc.get_objects() if type(value) is Image.Image and value.size == (400, 400)]
        assert len(held) <= 1


def test_a_slow_page_is_given_up_and_the_next_one_works():
    with open_pages(pdf_of("a", "b"), deadline=2) as document:
        first, second = document
        first.load()
        [process] = children()
        os.kill(process, signal.SIGSTOP)
        with pytest.raises(ImageError, match=r"page 1: pdfium did not finish within 2 seconds; "):
            first.load()
        assert second.load().size == first.load().size


def test_a_deadline_may_be_infinite():
    with open_pages(pdf_of("a"), deadline=float("inf")) as document:
        assert [page.load().size for page in document] == [(834, 417)]


def test_a_child_that_dies_is_one_error_and_the_next_page_works():
    with open_pages(pdf_of("a", "b")) as document:
        first, second = document
        for ending in (signal.SIGKILL, signal.SIGSEGV):
            first.load()
            [process] = children()
            os.kill(process, ending)
            with pytest.raises(ImageError, match=r"page 1: pdfium crashed \(exit code -\d+\); repair the file"):
                first.load()
            assert second.load().size == first.load().size


SCRIPT = """
import json, sys
for line in sys.stdin.buffer:
    request = json.loads(line)
    sys.stdin.buffer.read(request["bytes"])
    answer = {"open": b'{"bytes": 0}', "count": b'{"bytes": 0, "pages": 3}'}.get(request["do"], ANSWER)
    sys.stdout.buffer.write(answer + b"\\n")
    sys.stdout.buffer.flush()
    ACTION
"""


@pytest.mark.parametrize(
    ("answer", "action", "message"),
    [
        (b"", "while request['do'] == 'render': pass", "did not finish within 2 seconds|crashed"),
        (b"not json", "", "crashed"),
        (b"[]", "", "crashed"),
        (b'{"bytes": 5}', "request['do'] == 'render' and sys.exit()", "crashed"),
        (b'{"bytes": -1}', "", "crashed|no image"),
        (b'{"bytes": 0}', "", "crashed|no image"),
        (b'{"bytes": 0, "width": 100000, "height": 100000, "stride": 3, "dpi": 300}', "", "more than the 64000000"),
        (b'{"bytes": 0, "width": 10, "height": 10, "stride": 30, "dpi": 300}', "", "returned no image"),
        (b'{"bytes": 0, "width": "a", "height": 10, "stride": 30, "dpi": 300}', "", "returned no image"),
        (b'{"bytes": 0, "refused": "Something: new"}', "", r"pdfium failed \(Something: new\)"),
        (b'{"bytes": 0, "refused": "memory"}', "", "more memory than allowed"),
    ],
)
def test_no_answer_of_the_child_harms_the_reader(answer, action, message, monkeypatch, tmp_path):
    script = tmp_path / "child.py"
    script.write_text(SCRIPT.replace("ANSWER", repr(answer)).replace("ACTION", action))
    monkeypatch.setattr(child, "SCRIPT", script)
    with open_pages(pdf_of("a"), deadline=2) as document:
        for page in document:
            with pytest.raises(ImageError, match=message):
                page.load()
            if page.number == 1 and "render" in action:
                break


def test_a_page_that_wants_all_memory_is_one_error(monkeypatch):
    monkeypatch.setattr(child, "CHILD_MEMORY", 200 * 2**20)
    with open_pages(pdf_of("a", size=(14400, 14400))) as document:
        [page] = document
        with pytest.raises(ImageError, match=r"page 1: (needs more memory|pdfium crashed)"):
            page.load()


def test_a_closed_document_loads_nothing():
    for data in (tiff_of((5, 5), (5, 5)), pdf_of("a")):
        document = open_pages(data)
        [page, *_] = document
        document.close()
        document.close()
        with pytest.raises(ImageError, match="the document is closed"):
            page.load()


def test_closing_ends_the_child():
    before = children()
    document = open_pages(pdf_of("a"))
    assert len(children()) == len(before) + 1
    document.close()
    assert children() == before


def test_a_forgotten_document_is_closed(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(tiff_of((5, 5), (5, 5)))
    document = open_pages(path)
    del document  # a file that Python has to close is a ResourceWarning, which fails the test
    before = children()
    document = open_pages(pdf_of("a"))
    assert children() != before
    del document
    gc.collect()
    assert children() == before


def test_an_interrupt_ends_the_child(monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with open_pages(pdf_of("a")) as document:
        [page] = document
        with monkeypatch.context() as patch:
            patch.setattr(child, "_talk", interrupt)
            with pytest.raises(KeyboardInterrupt):
                page.load()
        assert not children()
        assert page.load().size


def test_a_program_that_ends_leaves_no_child(tmp_path):
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf_of("a"))
    program = "import sys, vedcore.documents as d; pages = d.open_pages(sys.argv[1]); print(pages._loader._child._process.pid)"
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert not psutil.pid_exists(int(done.stdout))


def test_the_child_imports_neither_torch_nor_vedcore(tmp_path):
    program = (
        f"import runpy, sys; sys.argv = ['x', str(2**32), *{sys.path!r}]; sys.stdin.close();"
        f"module = runpy.run_path({str(child.SCRIPT)!r}, run_name='child');"
        "document = module['Document'](); document.open(open(PATH, 'rb').read(), path=None);"
        "print([name for name in ('torch', 'numpy', 'vedcore', 'PIL') if name in sys.modules])"
    )
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf_of("a"))
    program = program.replace("PATH", repr(str(path)))
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("limit", ["MAX_DOCUMENT_BYTES"])
def test_a_document_beyond_the_byte_limit_is_refused(limit, monkeypatch, tmp_path):
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf_of("a"))
    monkeypatch.setattr(pages, limit, 100)
    with pytest.raises(ImageError, match="bytes, more than the 100 allowed"):
        open_pages(path)


def test_a_damaged_document_gives_pages_or_image_errors(capfd):
    chance = random.Random(0)
    for data in (pdf_of("a", "b"), tiff_of((30, 20), (20, 30), compression="packbits")):
        for _ in range(8):
            broken = bytearray(data)
            for _ in range(chance.choice((1, 4, 16))):
                broken[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            with contextlib.suppress(ImageError), open_pages(bytes(broken), pdf_dpi=36) as document:
                for page in document:
                    with contextlib.suppress(ImageError):
                        page.load()
    assert capfd.readouterr() == ("", "")


def test_opening_is_lazy():
    data = pdf_of(*["page"] * 200)
    start = time.perf_counter()
    with open_pages(data) as document:
        assert len(list(document)) == 200
    assert time.perf_counter() - start < 5
