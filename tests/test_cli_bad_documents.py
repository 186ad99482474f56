"""``vedcore read`` on documents that are broken, and on disks that are full: what is good is read, the rest is one line."""

import io
import os
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.pdfs import by_hand, encrypted, pdf_of, stream
from vedcore import Reader, cli
from vedcore.documents.child import Child, Refused
from vedcore.vision import Origin

LINE = next((Path(__file__).parent / "golden/lines/images").glob("*.png"))
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")


@pytest.fixture(scope="module")
def loaded():
    return Reader.load("line-reader")


@pytest.fixture(autouse=True)
def once(loaded, monkeypatch):
    monkeypatch.setattr(Reader, "load", lambda name, **_: loaded)


def read(*arguments, **options):
    return CliRunner().invoke(cli.app, ["read", *map(str, arguments)], **options)


def with_a_broken_page():
    """Three pages, of which the second is no page, and the others have a word each."""

    def page(content):
        resources = b"/Resources<</Font<</F 6 0 R>>>>"
        return b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 90 30]/Contents %d 0 R%s>>" % (content, resources)

    return by_hand(
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R 4 0 R 5 0 R]/Count 3>>",
        page(7),
        b"(no page)",
        page(8),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        *(stream(b"BT /F 18 Tf 10 8 Td (%s) Tj ET" % word) for word in (b"first", b"third")),
    )


def tiff_of(compression):
    """A TIFF whose compression is this number."""
    entry = b"\3\1\3\0\1\0\0\0"  # tag 259, one number of 16 bits
    plain = bytearray(tiff())
    place = plain.index(entry) + len(entry)
    plain[place : place + 2] = compression.to_bytes(2, "little")
    return bytes(plain)


def tiff():
    file = io.BytesIO()
    Image.new("L", (40, 20), 255).save(file, "TIFF")
    return file.getvalue()


def png():
    return LINE.read_bytes()


BAD = {
    "password.pdf": (encrypted, "remove it, e.g. with: qpdf --decrypt"),
    "truncated.pdf": (lambda: pdf_of("many rivers")[:700], "repair it, e.g. with: qpdf IN.pdf OUT.pdf"),
    "compression.tif": (lambda: tiff_of(34712), "convert it, e.g. with: magick"),
    "truncated.tif": (lambda: tiff()[:-300], "copy or scan the file again"),
    "truncated.png": (lambda: png()[: len(png()) // 2], "copy it or save it again"),
    "text.png": (lambda: b"no image", "convert it"),
    "empty.jpg": (bytes, "copy it again"),
    'odd\nna"me\x1b[31m; \udcff.gif': (lambda: b"GIF89a", "copy it or save it again"),
}
"""What may be in a folder, and the remedy."""


@pytest.mark.parametrize("name", BAD)
def test_a_document_that_cannot_be_read_is_one_line_with_its_name_and_a_remedy(tmp_path, name):
    content, remedy = BAD[name]
    (tmp_path / name).write_bytes(content())
    result = read(tmp_path / name)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert name[:3] in result.stderr
    assert remedy in result.stderr
    assert not any(ord(character) < 32 for character in result.stderr[:-1])


def test_bad_documents_do_not_keep_the_others_from_being_read(tmp_path):
    for name, (content, _) in BAD.items():
        (tmp_path / name).write_bytes(content())
    (tmp_path / "gone.png").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.png")
    shutil.copy(LINE, tmp_path / "good.png")
    result = read(tmp_path, "-o", tmp_path / "out", "-f", "text")
    assert result.exit_code == 1
    assert os.listdir(tmp_path / "out") == ["good.txt"]
    lines = result.stderr.splitlines()
    assert len(lines) == len(BAD) + 2
    assert "gone.png: no such file; check the path" in result.stderr


def test_a_broken_page_of_a_pdf_is_one_line_and_the_others_are_read(tmp_path):
    (tmp_path / "three.pdf").write_bytes(with_a_broken_page())
    result = read(tmp_path / "three.pdf", "-f", "text")
    assert (result.exit_code, result.stdout.split()) == (1, ["first", "third"])
    assert result.stderr == (
        f"vedcore: {tmp_path / 'three.pdf'}, page 2: is damaged; repair the file, e.g. with: qpdf IN.pdf OUT.pdf\n"
    )
    piped = read("-", "-f", "text", input=with_a_broken_page())
    assert (piped.exit_code, piped.stdout.split()) == (1, ["first", "third"])
    assert "page 2: is damaged" in piped.stderr


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path):
    Image.new("1", (30_000, 2_200)).save(tmp_path / "large.png")
    result = read(tmp_path / "large.png")
    assert result.exit_code == 1
    assert "30000 x 2200 pixels, more than the 64000000 allowed; make the image smaller" in result.stderr


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (30_000, 40)])
def test_extreme_sizes_are_read(tmp_path, size):
    Image.new("L", size, 255).save(tmp_path / "blank.png")
    result = read(tmp_path / "blank.png")
    assert (result.exit_code, result.stdout.strip()) == (0, "")
    assert result.stderr == f"vedcore: {tmp_path / 'blank.png'}: the image is blank\n"


@needs_full
@pytest.mark.parametrize("form", ["text", "jsonl", "csv"])
def test_a_full_disk_is_one_line_with_the_file(form):
    result = read(LINE, "-f", form, "-o", FULL)
    assert result.exit_code == 2
    assert result.stderr == "vedcore: /dev/full: written only in part (No space left on device)\n"


@needs_full
def test_a_pdf_on_a_full_disk_is_not_written(tmp_path):
    (tmp_path / "in.pdf").write_bytes(pdf_of(*["many rivers"] * 50))  # more than the buffer of a file
    with (
        closing(Child(tmp_path / "in.pdf", Origin("in.pdf"), 30)) as child,
        pytest.raises(Refused, match="No space left"),
    ):
        child.ask({"do": "save", "path": str(FULL)})


def test_a_folder_that_cannot_be_written_to_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    for output in (tmp_path / "file" / "x.txt", tmp_path / "file" / "x.hocr"):
        result = read(LINE, "-o", output)
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1
        assert str(tmp_path / "file") in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="no process groups")
def test_an_interrupted_run_leaves_no_process(tmp_path):
    (tmp_path / "long.pdf").write_bytes(pdf_of(*["river"] * 50))
    command = [sys.executable, "-m", "vedcore", "read", "long.pdf", "--batch-size", "1", "-f", "text"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=tmp_path, start_new_session=True, **pipes) as process:
        assert process.stdout.readline() == b"river\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.stderr.read() == b"vedcore: interrupted\n"
    assert process.returncode == 130
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
