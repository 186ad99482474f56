"""PDF files for tests, made with pdfium in this process, or written by hand."""

from __future__ import annotations

import ctypes
import io

import pypdfium2
from pypdfium2 import raw


def pdf_of(*texts, size=(200, 100), rotate=0, crop=None):
    """A PDF with one page for each text, in 24 points, whose first letter is at (20, 40) from the lower left of ``crop``."""
    document = pypdfium2.PdfDocument.new()
    for text in texts:
        left, bottom = (crop or (0, 0))[:2]
        page = document.new_page(*size)
        font = raw.FPDFText_LoadStandardFont(document, b"Helvetica")
        written = raw.FPDFPageObj_CreateTextObj(document, font, 24)
        codes = ctypes.create_string_buffer((text + "\0").encode("utf-16-le"))
        raw.FPDFText_SetText(written, ctypes.cast(codes, ctypes.POINTER(ctypes.c_ushort)))
        raw.FPDFPageObj_Transform(written, 1, 0, 0, 1, left + 20, bottom + 40)
        raw.FPDFPage_InsertObject(page, written)
        page.gen_content()
        if crop:
            page.set_cropbox(*crop)
        page.set_rotation(rotate)
        page.close()
    return saved(document)


def saved(document):
    file = io.BytesIO()
    document.save(file)
    document.close()
    return file.getvalue()


def by_hand(*objects, trailer=b""):
    """A PDF of these objects, numbered from 1; the first is the catalog."""
    data, offsets = b"%PDF-1.7\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    return data + (
        b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<</Size %d/Root 1 0 R%s>>\nstartxref\n%d\n%%%%EOF\n"
        % (size, table, size, trailer, len(data))
    )


def stream(content, entries=b""):
    return b"<</Length %d%s>>\nstream\n%s\nendstream" % (len(content), entries, content)


def encrypted():
    """A PDF that opens with a password only: its hash is of no password that a reader tries."""
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 100 100]>>"
    lock = b"/Encrypt<</Filter/Standard/V 1/R 2/O<%s>/U<%s>/P -4>>/ID[<%s><%s>]" % (
        b"ab" * 32,
        b"cd" * 32,
        b"0" * 32,
        b"0" * 32,
    )
    return by_hand(b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>", page, trailer=lock)


def with_a_broken_page():
    """Three pages, of which the second is no page."""
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 100 100]>>"
    kids = b"<</Type/Pages/Kids[3 0 R 4 0 R 5 0 R]/Count 3>>"
    return by_hand(b"<</Type/Catalog/Pages 2 0 R>>", kids, page, b"(no page)", page)
