"""What libtiff says about broken data: caught, instead of printed on standard error.

Pillow leaves libtiff's handler of errors as it is, which prints, and Pillow takes a fax page with broken codes for a whole
one. The handler is one for the process; each thread has its own record of errors.
"""

from __future__ import annotations

import ctypes
import importlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_Handler = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)


class _Record(threading.local):
    errors = 0


_record = _Record()


def _count(module: bytes, message: bytes, arguments: int) -> None:
    _record.errors += 1


_handler = _Handler(_count)
"""libtiff keeps a pointer to it, so it lives as long as the process."""


@contextmanager
def quiet_libtiff() -> Iterator[None]:
    """A context in which libtiff prints nothing. Raises ValueError at its end if libtiff found an error.

    Where libtiff cannot be reached (it is linked into Pillow on Windows) the context changes nothing.
    """
    with suppress(OSError, AttributeError, TypeError):
        # The symbols of a library that Pillow's module is linked to are found through that module.
        ctypes.CDLL(importlib.import_module("PIL._imaging").__file__).TIFFSetErrorHandler(_handler)
    before = _record.errors
    yield
    if _record.errors > before:
        raise ValueError("libtiff found errors in the compressed data")
