"""The orientation of an image, from its EXIF or XMP block.

Pillow's own reader of EXIF warns about every broken tag. Only one tag is needed here.
"""

from __future__ import annotations

import re
from typing import Any

from PIL import Image

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (_TURNS[5], _TURNS[6], _TURNS[7], _TURNS[8])
"""The turns that exchange width and height."""

_XMP = re.compile(rb"tiff:Orientation(?:=\"|>)([1-8])")


def upright_turn(info: dict[Any, Any]) -> Image.Transpose | None:
    """The turn that makes an image with this ``info`` upright, or None if it already is."""
    return _TURNS.get(orientation(info))


def orientation(info: dict[Any, Any]) -> int:
    """1 to 8 as EXIF defines them; 1 if the image has no orientation or a broken one."""
    block = info.get("exif")
    if block is None and isinstance(info.get("Raw profile type exif"), str):
        digits = "".join(info["Raw profile type exif"].split("\n")[3:])
        block = bytes.fromhex(digits) if re.fullmatch(r"(?:[0-9a-fA-F]{2})+", digits) else None
    found = _exif_orientation(block) if isinstance(block, bytes) else None
    if found is None:
        notes = info.get("XML:com.adobe.xmp", info.get("xmp"))
        notes = notes.encode("utf-8", "replace") if isinstance(notes, str) else notes
        match = _XMP.search(notes) if isinstance(notes, bytes) else None
        found = int(match[1]) if match else 1
    return found


def _exif_orientation(block: bytes) -> int | None:
    block = block.removeprefix(b"Exif\0\0")
    order: Any = {b"II": "little", b"MM": "big"}.get(block[:2])
    if order is None:
        return None

    def read(at: int, size: int) -> int:
        return int.from_bytes(block[at : at + size], order)

    start = read(4, 4)
    for entry in range(start + 2, min(start + 2 + 12 * read(start, 2), len(block) - 11), 12):
        if read(entry, 2) == 0x0112:
            size = {1: 1, 3: 2, 4: 4}.get(read(entry + 2, 2))  # BYTE, SHORT, LONG
            return read(entry + 8, size) if size and read(entry + 4, 4) == 1 else None
    return None
