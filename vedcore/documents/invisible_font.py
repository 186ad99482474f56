"""The font of invisible text: a TrueType font with one glyph without ink, and the map from its codes to characters.

Text that no one sees needs no shapes, but a viewer needs to know where a character is and what it is. Each character that a
document uses gets a code, from 1; every code has the same glyph, as wide as it is high; and a map says which character a
code is, so that any text can be found and copied. So one font of 1 kB serves all languages.
"""

from __future__ import annotations

import struct

EM = 1000
ASCENT, DESCENT = 800, -200
"""The parts of the height of a character above and below its baseline, in thousandths."""
MAX_CODES = 65_535


class Codes:
    """The codes of the characters of a document, given out as they are needed."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}

    def of(self, text: str) -> list[int]:
        """The codes of the characters of a text. Raises ValueError for the 65,536th different character of a document."""
        for character in text:
            if character not in self._codes:
                if len(self._codes) == MAX_CODES:
                    raise ValueError(f"more than {MAX_CODES} different characters in a document")
                self._codes[character] = len(self._codes) + 1
        return [self._codes[character] for character in text]

    def __len__(self) -> int:
        return len(self._codes)

    def glyph_map(self) -> bytes:
        """The stream CIDToGIDMap: the glyph of each code."""
        return b"\0\0" + b"\0\1" * len(self._codes)

    def unicode_map(self) -> bytes:
        """The stream ToUnicode: the character of each code, as UTF-16."""
        lines = [f"<{code:04X}> <{_utf16(character).hex().upper()}>" for character, code in self._codes.items()]
        blocks = [lines[start : start + 100] for start in range(0, len(lines), 100)]  # 100 is the most for a block
        parts = [f"{len(block)} beginbfchar\n" + "\n".join(block) + "\nendbfchar" for block in blocks]
        return "\n".join([_CMAP_HEAD, *parts, _CMAP_TAIL]).encode("ascii")


def font_file() -> bytes:
    """The bytes of the font: glyph 0 is for codes that nobody gave out, glyph 1 for all others.

    The outline of the glyph is a line there and back, which covers nothing but has a box: pdfium leaves out characters
    whose box has no width, such as those of text that runs upwards.
    """
    glyph = struct.pack(">hhhhh", 1, 0, DESCENT, EM, ASCENT)
    glyph += struct.pack(">HH2B2h2h", 1, 0, 1, 1, 0, EM, DESCENT, EM)  # two points; the second relative to the first
    tables = {
        b"OS/2": struct.pack(
            ">HhHHHhhhhhhhhhhh10sIIII4sHHHhhhHH",
            *(1, EM, 400, 5, 0, 650, 600, 0, 75, 650, 600, 0, 350, 50, 300, 0, bytes(10)),
            *(1, 0, 0, 0, b"NONE", 64, 32, 32, ASCENT, DESCENT, 0, ASCENT, -DESCENT),
        )
        + bytes(8),
        b"cmap": struct.pack(">HHHHI", 0, 1, 3, 1, 12)
        + struct.pack(">HHHHHHHHHHHhHH", 4, 32, 0, 4, 4, 1, 0, 32, 0xFFFF, 0, 32, -31, 1, 0)
        + bytes(4),
        b"glyf": glyph,
        b"head": struct.pack(
            ">IIIIHHqqhhhhHHhhh", 0x10000, 0x10000, 0, 0x5F0F3CF5, 0, EM, 0, 0, 0, DESCENT, EM, ASCENT, 0, 8, 2, 1, 0
        ),
        b"hhea": struct.pack(">IhhhHhhhhhh8xhH", 0x10000, ASCENT, DESCENT, 0, EM, 0, 0, EM, 1, 0, 0, 0, 1),
        b"hmtx": struct.pack(">Hhh", EM, 0, 0),
        b"loca": struct.pack(">III", 0, 0, len(glyph)),
        b"maxp": struct.pack(">IHHHHHHHHHHHHHH", 0x10000, 2, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0),
        b"name": struct.pack(">HHH", 0, 0, 6),
        b"post": struct.pack(">IIhhIIIII", 0x30000, 0, -100, 50, 1, 0, 0, 0, 0),
    }
    start = 12 + 16 * len(tables)
    directory, body = [struct.pack(">IHHHH", 0x10000, len(tables), 128, 3, 16 * len(tables) - 128)], b""
    for name, table in tables.items():
        directory.append(struct.pack(">4sIII", name, _checksum(table), start + len(body), len(table)))
        body += table + bytes(-len(table) % 4)
    whole = b"".join(directory) + body
    adjustment = struct.pack(">I", (0xB1B0AFBA - _checksum(whole)) & 0xFFFFFFFF)
    at = start + body.index(tables[b"head"]) + 8
    return whole[:at] + adjustment + whole[at + 4 :]


def _checksum(table: bytes) -> int:
    padded = table + bytes(-len(table) % 4)
    words: tuple[int, ...] = struct.unpack(f">{len(padded) // 4}I", padded)
    return sum(words) & 0xFFFFFFFF


def _utf16(character: str) -> bytes:
    return character.encode("utf-16-be", "surrogatepass")


_CMAP_HEAD = """/CIDInit /ProcSet findresource begin
12 dict begin
begincmap
/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def
/CMapName /Adobe-Identity-UCS def
/CMapType 2 def
1 begincodespacerange
<0000> <FFFF>
endcodespacerange"""
_CMAP_TAIL = """endcmap
CMapName currentdict /CMap defineresource pop
end
end"""
