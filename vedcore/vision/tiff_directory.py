"""The directories of a TIFF file: for each frame, which tags it has and where their values are. Nothing here decodes pixels.

Every number in a TIFF file is an offset or a length that may be wrong, so each is compared with the size of the file before
it is used, and nothing is read that is longer than what the caller allows.
"""

from __future__ import annotations

import copy
import io
from typing import BinaryIO, Literal, Self

from vedcore.vision.origin import Origin

MAX_FRAMES = 10_000
_MAX_TAGS = 4096
_WIDTH = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 13: 4, 16: 8}
"""Bytes of a value: BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, IFD, LONG8. Other types are in no tag that is read."""

Directory = dict[int, tuple[int, int, int]]
"""The type, the number and the position of the values of each tag."""


class TiffFile:
    """The bytes of a TIFF file, classic or BigTIFF, read as numbers in the byte order of the file.

    file: is read where needed, and stays open. origin: names the file in errors.
    """

    def __init__(self, file: BinaryIO, origin: Origin) -> None:
        """Raises ImageError if the file does not begin like a TIFF file."""
        self.file, self.origin = file, origin
        self.size = file.seek(0, io.SEEK_END)
        start = self.bytes_at(0, 8)
        self.mark = start[:2]
        self.order: Literal["little", "big"] = "little" if self.mark == b"II" else "big"
        self._big = self.integer(2, 2) == 43
        self._first = self.integer(8, 8) if self._big else self.integer(4, 4)

    def named(self, origin: Origin) -> Self:
        """The same file, with another name in errors, such as that of a page."""
        other = copy.copy(self)
        other.origin = origin
        return other

    def bytes_at(self, at: int, count: int) -> bytes:
        """``count`` bytes from position ``at``. Raises ImageError if the file ends before."""
        if at + count > self.size:
            raise self._error(f"expected {count} bytes at position {at}, found the end of the file at {self.size}")
        self.file.seek(at)
        data = self.file.read(count)
        if len(data) != count:
            raise self._error("the file became shorter while it was read")
        return data

    def integer(self, at: int, width: int) -> int:
        """The number of ``width`` bytes at position ``at``. Raises ImageError if the file ends before."""
        return int.from_bytes(self.bytes_at(at, width), self.order)

    def frame_positions(self, max_frames: int = MAX_FRAMES) -> list[int]:
        """The position of the directory of each frame. A chain of directories that comes back to itself ends there.

        A link that leads out of the file is the last position, so that a reader of that frame gets the error.
        Raises ImageError for no frame, and for more than ``max_frames``.
        """
        found: dict[int, None] = {}  # in order
        position = self._first
        while position and position not in found:
            if len(found) == max_frames:
                raise self.origin.error(
                    f"has more than {max_frames} pages; split the file, e.g. with: tiffsplit IN.tif",
                    expected=f"at most {max_frames} pages",
                )
            found[position] = None
            try:
                count, head, entry = self._head(position)
                position = self.integer(position + head + count * entry, 8 if self._big else 4)
            except ValueError:  # an ImageError; it is raised again by ``directory``
                break
        if not found:
            raise self._error("expected at least one image, found none")
        return list(found)

    def directory(self, position: int) -> Directory:
        """The tags of the frame at ``position``; of a tag that appears twice the first.

        Raises ImageError if the directory lies outside the file.
        """
        count, head, entry = self._head(position)
        start, width = position + head, 8 if self._big else 4
        found: Directory = {}
        data = self.bytes_at(start, count * entry)
        for at in range(0, len(data), entry):
            tag, kind = (int.from_bytes(data[at + n : at + n + 2], self.order) for n in (0, 2))
            number = int.from_bytes(data[at + 4 : at + 4 + width], self.order)
            if tag in found or kind not in _WIDTH:
                continue
            place = start + at + 4 + width
            if number * _WIDTH[kind] > width:
                place = int.from_bytes(data[at + 4 + width : at + entry], self.order)
            found[tag] = (kind, number, place)
        return found

    def numbers(self, directory: Directory, tag: int, default: tuple[int, ...] = (), most: int = 8) -> tuple[int, ...]:
        """The integers of a tag, ``default`` if the frame has no such tag.

        Raises ImageError for more than ``most`` values, for values of another type, and for values outside the file.
        """
        if tag not in directory:
            return default
        kind, count, place = directory[tag]
        if kind in (2, 5) or not 1 <= count <= most:
            raise self._error(f"tag {tag}: expected 1 to {most} integers, found {count} values of type {kind}")
        width = _WIDTH[kind]
        data = memoryview(self.bytes_at(place, count * width))
        return tuple(int.from_bytes(data[at : at + width], self.order) for at in range(0, len(data), width))

    def fraction(self, directory: Directory, tag: int) -> float | None:
        """The first rational of a tag; None if there is none, or if it has no value."""
        kind, count, place = directory.get(tag, (0, 0, 0))
        if kind != 5 or not count or place + 8 > self.size:
            return None
        above, below = self.integer(place, 4), self.integer(place + 4, 4)
        return above / below if below else None

    def _head(self, position: int) -> tuple[int, int, int]:
        """The number of tags of the directory at ``position``, the bytes of that number, and the bytes of a tag."""
        head, entry = (8, 20) if self._big else (2, 12)
        count = self.integer(position, head)
        if not 1 <= count <= _MAX_TAGS:
            raise self._error(f"expected 1 to {_MAX_TAGS} tags at position {position}, found {count}")
        return count, head, entry

    def _error(self, message: str) -> Exception:
        return self.origin.error(f"broken TIFF: {message}; save it again with the program that made it")
