"""Files that are read: opened without waiting, regular, and not larger than allowed."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO

from vedcore.errors import ImageError
from vedcore.vision.limits import check_bytes
from vedcore.vision.origin import Origin


def origin_of(source: str | os.PathLike[str] | bytes | bytearray | memoryview) -> Origin:
    """The name of a path, or of the bytes of a file, in errors."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return Origin(f"image of {len(source)} bytes")
    path = os.fsdecode(source)
    return Origin(path if path.isprintable() and path else repr(path), file=path)


def open_file(source: str | os.PathLike[str], origin: Origin, max_bytes: int) -> BinaryIO:
    """The file, open for reading. Raises ImageError if it is missing, not a regular file, or larger than ``max_bytes``."""
    # Non-blocking: otherwise opening a FIFO waits for a writer that may never come.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        file = open(source, "rb", opener=lambda path, _: os.open(path, flags))  # noqa: SIM115 - the caller closes it
    except FileNotFoundError:
        raise origin.error("no such file; check the path", expected="an image file") from None
    except IsADirectoryError:
        raise origin.error(
            "expected an image file, found a folder", expected="an image file", found="a folder"
        ) from None
    except (OSError, ValueError) as cause:
        raise origin.error(f"cannot be read ({getattr(cause, 'strerror', None) or cause})") from cause
    try:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise origin.error("not a regular file; copy its content to one", expected="a regular file")
        check_bytes(status.st_size, origin, max_bytes)
    except BaseException:
        file.close()
        raise
    return file


def read_file(source: str | os.PathLike[str], origin: Origin, max_bytes: int) -> bytes:
    """The bytes of the file. Raises ImageError like ``open_file``, and if reading fails."""
    with open_file(source, origin, max_bytes) as file:
        try:
            return file.read(max_bytes + 1)
        except ImageError:
            raise
        except OSError as cause:
            raise origin.error(f"cannot be read ({cause.strerror or cause})") from cause
