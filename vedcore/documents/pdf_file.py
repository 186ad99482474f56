"""A new PDF file, written page by page: a picture on each page, and invisible text on it."""

from __future__ import annotations

import zlib
from typing import BinaryIO

from vedcore.documents.invisible_font import ASCENT, DESCENT, EM, Codes, font_file
from vedcore.documents.pictures import Picture
from vedcore.documents.placing import PlacedWord

_NAME = b"Invisible"


class PdfFile:
    """A PDF file that is being written. Only the places of its objects are kept in memory.

    codes: those of the text of all pages.
    """

    def __init__(self, file: BinaryIO, codes: Codes) -> None:
        self._file, self._codes = file, codes
        self._places: dict[int, int] = {}
        self._count = 0
        self._pages: list[int] = []
        self._catalog, self._tree, self._font = (self._reserve() for _ in range(3))
        file.write(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")  # bytes above 127: transfer programs take the file for binary

    def add_page(self, size: tuple[float, float], picture: Picture | None, words: list[PlacedWord]) -> None:
        """Add a page of ``size`` (width, height) in points, which the picture covers."""
        content, resources = [], b"/Font<</F %d 0 R>>" % self._font
        if picture is not None:
            image = self._stream(picture.entries, picture.data)
            resources += b"/XObject<</I %d 0 R>>" % image
            content.append(b"q %s cm /I Do Q" % _numbers(*picture.matrix(*size)))
        if words:
            content.append(b"BT 3 Tr")
            for word in words:
                codes = b"".join(b"%04X" % code for code in word.codes)
                content.append(b"/F %s Tf %s Tm <%s> Tj" % (_numbers(word.size), _numbers(*word.matrix), codes))
            content.append(b"ET")
        drawn = self._stream(b"/Filter/FlateDecode", zlib.compress(b"\n".join(content)))
        page = b"<</Type/Page/Parent %d 0 R/MediaBox[0 0 %s]/Resources<<%s>>/Contents %d 0 R>>"
        self._pages.append(self._object(page % (self._tree, _numbers(*size), resources, drawn)))

    def finish(self) -> None:
        """Write the font, the list of pages and the table of objects. The file is complete then."""
        font = font_file()
        packed = b"/Filter/FlateDecode"
        program = self._stream(b"%s/Length1 %d" % (packed, len(font)), zlib.compress(font))
        descriptor = self._object(
            b"<</Type/FontDescriptor/FontName/%s/Flags 4/FontBBox[0 %d %d %d]/ItalicAngle 0/Ascent %d/Descent %d/CapHeight %d"
            b"/StemV 80/FontFile2 %d 0 R>>" % (_NAME, DESCENT, EM, ASCENT, ASCENT, DESCENT, ASCENT, program)
        )
        glyphs = self._stream(packed, zlib.compress(self._codes.glyph_map()))
        descendant = self._object(
            b"<</Type/Font/Subtype/CIDFontType2/BaseFont/%s/CIDSystemInfo<</Registry(Adobe)/Ordering(Identity)/Supplement 0>>"
            b"/DW %d/CIDToGIDMap %d 0 R/FontDescriptor %d 0 R>>" % (_NAME, EM, glyphs, descriptor)
        )
        characters = self._stream(packed, zlib.compress(self._codes.unicode_map()))
        self._object(
            b"<</Type/Font/Subtype/Type0/BaseFont/%s/Encoding/Identity-H/DescendantFonts[%d 0 R]/ToUnicode %d 0 R>>"
            % (_NAME, descendant, characters),
            self._font,
        )
        kids = b" ".join(b"%d 0 R" % page for page in self._pages)
        self._object(b"<</Type/Pages/Count %d/Kids[%s]>>" % (len(self._pages), kids), self._tree)
        self._object(b"<</Type/Catalog/Pages %d 0 R>>" % self._tree, self._catalog)
        start = self._file.tell()
        table = b"".join(b"%010d 00000 n \n" % self._places[number] for number in range(1, self._count + 1))
        self._file.write(
            b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<</Size %d/Root %d 0 R>>\nstartxref\n%d\n%%%%EOF\n"
            % (self._count + 1, table, self._count + 1, self._catalog, start)
        )

    def _reserve(self) -> int:
        self._count += 1
        return self._count

    def _object(self, content: bytes, number: int | None = None) -> int:
        """Write an object; returns its number."""
        number = self._reserve() if number is None else number
        self._places[number] = self._file.tell()
        self._file.write(b"%d 0 obj\n%s\nendobj\n" % (number, content))
        return number

    def _stream(self, entries: bytes, data: bytes) -> int:
        return self._object(b"<<%s/Length %d>>stream\n%s\nendstream" % (entries, len(data), data))


def _numbers(*values: float) -> bytes:
    """Numbers as PDF writes them: without an exponent."""
    return b" ".join((b"%.5f" % value).rstrip(b"0").rstrip(b".") for value in values)
