"""A program: it answers requests about one PDF document. ``child.py`` starts it; nothing imports it.

A request is a line of JSON on standard input, followed by as many bytes as its field "bytes" says; so is the answer, on
standard output. An answer with the field "refused" says why the request cannot be done. The program imports only pypdfium2 and
the standard library, so that it starts fast and has little to lose.

    pdfium_child.py MEMORY FOLDER...    the bytes of memory it may use, and where pypdfium2 is if it is not on the path
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import math
import mmap
import os
import signal
import sys
from typing import Any, BinaryIO

MEMORY = int(sys.argv[1])
sys.path += sys.argv[2:]


class Refusal(Exception):
    """The request cannot be done. The argument is a word that the other side knows."""


class Written:
    """A file that pdfium writes to. error: the first error, which pdfium ignores, as if the disk were never full."""

    def __init__(self, file: io.FileIO) -> None:
        self.error: OSError | None = None
        self._file = file

    def write(self, data: Any) -> None:
        """Write all bytes, unless a part of the file is already missing."""
        remaining = memoryview(data)
        try:
            while self.error is None and remaining:
                remaining = remaining[self._file.write(remaining) :]
        except OSError as error:
            self.error = error


class Document:
    """The document, and what is asked of it. Each method returns the fields of an answer, and bytes."""

    def __init__(self) -> None:
        self._pdf: Any = None
        self._font: Any = None

    def open(self, data: bytes, *, path: str | None) -> tuple[dict[str, Any], bytes]:
        """Open the file at ``path``, or ``data``."""
        try:
            import pypdfium2
        except Exception:
            raise Refusal("library") from None
        source: Any = data
        size = len(data)
        if path is not None:
            try:
                with open(path, "rb") as file:
                    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            except (OSError, ValueError):
                raise Refusal("file") from None
            size = len(mapped)
            source = (ctypes.c_ubyte * size).from_buffer(mapped)
        limit("RLIMIT_AS", MEMORY + size)
        try:
            self._pdf = pypdfium2.PdfDocument(source)
        except pypdfium2.PdfiumError as cause:
            reasons = {pypdfium2.raw.FPDF_ERR_PASSWORD: "password", pypdfium2.raw.FPDF_ERR_SECURITY: "security"}
            raise Refusal(reasons.get(cause.err_code, "format")) from None
        with contextlib.suppress(pypdfium2.PdfiumError):  # the fields of a broken form are not drawn
            self._pdf.init_forms()
        return {}, b""

    def count(self, data: bytes) -> tuple[dict[str, Any], bytes]:
        """The number of pages."""
        return {"pages": len(self._pdf)}, b""

    def render(
        self, data: bytes, *, page: int, dpi: float, least_dpi: float, pixels: int
    ) -> tuple[dict[str, Any], bytes]:
        """The pixels of a page, at ``dpi`` or at the highest lower resolution that has at most ``pixels`` of them."""
        opened = self._page(page)
        width, height = opened.get_size()
        if not (0 < width < math.inf and 0 < height < math.inf):
            raise Refusal("page")
        scale = min(dpi / 72, math.sqrt(pixels / (width * height))) * (
            1 - 1e-6
        )  # sizes are float32, and are rounded up
        while scale * 72 >= least_dpi and math.ceil(width * scale) * math.ceil(height * scale) > pixels:
            scale *= 0.9999
        if scale * 72 < least_dpi:
            raise Refusal("large")
        bitmap = opened.render(scale=scale, rev_byteorder=True)
        head = {"width": bitmap.width, "height": bitmap.height, "stride": bitmap.stride, "dpi": round(scale * 72, 2)}
        pixels_of = bytes(bitmap.buffer)
        bitmap.close()
        opened.close()
        return head, pixels_of

    def corners(self, data: bytes, *, page: int) -> tuple[dict[str, Any], bytes]:
        """Where the upper left, the upper right and the lower left corner of a page, as it is shown, are on the page."""
        from pypdfium2 import raw

        opened = self._page(page)
        found = []
        for corner in ((0, 0), (1000, 0), (0, 1000)):
            x, y = ctypes.c_double(), ctypes.c_double()
            if not raw.FPDF_DeviceToPage(opened, 0, 0, 1000, 1000, 0, *corner, x, y):
                raise Refusal("page")
            found.append((x.value, y.value))
        opened.close()
        return {"corners": found}, b""

    def font(self, data: bytes, *, size: int, unicode_map: str) -> tuple[dict[str, Any], bytes]:
        """Load the font of the text that is added: ``size`` bytes of a TrueType font, then the glyph of each code."""
        from pypdfium2 import raw

        buffers = [(ctypes.c_uint8 * len(part)).from_buffer_copy(part) for part in (data[:size], data[size:])]
        first, second = buffers
        self._font = raw.FPDFText_LoadCidType2Font(
            self._pdf, first, len(first), unicode_map.encode("ascii"), second, len(second)
        )
        if not self._font:
            raise Refusal("font")
        return {}, b""

    def text(self, data: bytes, *, page: int, words: list[Any]) -> tuple[dict[str, Any], bytes]:
        """Add invisible words to a page; each is the size of its font, its matrix and its codes."""
        from pypdfium2 import raw

        opened = self._page(page)
        for size, matrix, codes in words:
            written = raw.FPDFPageObj_CreateTextObj(self._pdf, self._font, size)
            done = (
                raw.FPDFText_SetCharcodes(written, (ctypes.c_uint32 * len(codes))(*codes), len(codes))
                and raw.FPDFTextObj_SetTextRenderMode(written, raw.FPDF_TEXTRENDERMODE_INVISIBLE)
                and raw.FPDFPageObj_SetMatrix(written, raw.FS_MATRIX(*matrix))
            )
            raw.FPDFPage_InsertObject(opened, written)
            if not done:
                raise Refusal("text")
        if not raw.FPDFPage_GenerateContent(opened):
            raise Refusal("text")
        opened.close()
        return {}, b""

    def save(self, data: bytes, *, path: str) -> tuple[dict[str, Any], bytes]:
        """Write the document, with what was added, to ``path``."""
        import pypdfium2

        try:
            with open(path, "wb", buffering=0) as file:
                written = Written(file)
                self._pdf.save(written, flags=pypdfium2.raw.FPDF_NO_INCREMENTAL)
                if written.error is not None:
                    raise written.error
        except (OSError, pypdfium2.PdfiumError) as error:
            return {"refused": f"{getattr(error, 'strerror', None) or error}"}, b""
        return {}, b""

    def _page(self, index: int) -> Any:
        import pypdfium2

        try:
            return self._pdf[index]
        except pypdfium2.PdfiumError:
            raise Refusal("page") from None


def limit(name: str, value: int) -> None:
    """Set a soft limit of this process, where the system has it."""
    try:
        import resource

        kind = getattr(resource, name)
        most = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (value if most == resource.RLIM_INFINITY else min(value, most), most))
    except (ImportError, AttributeError, ValueError, OSError):
        pass  # Windows has no limits, and macOS not all


def processor_seconds() -> float:
    """The time of the processor that this process has used."""
    times = os.times()
    return times.user + times.system


def answer(document: Document, request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    """The fields of the answer, and its bytes."""
    action = getattr(document, request.pop("do"))
    try:
        fields, body = action(data, **request)
    except Refusal as refusal:
        return {"refused": refusal.args[0]}, b""
    except MemoryError:
        return {"refused": "memory"}, b""
    except Exception as error:
        return {"refused": f"{type(error).__name__}: {error}"}, b""
    return fields, body


def main() -> None:
    """Answer requests until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits for the answers
    receive: BinaryIO = sys.stdin.buffer
    send = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a library prints is no answer
    limit("RLIMIT_AS", MEMORY)
    document = Document()
    for line in receive:
        request = json.loads(line)
        data = receive.read(request.pop("bytes"))
        # The other side kills this process when time is up; if that side is dead, the system does.
        limit("RLIMIT_CPU", math.ceil(processor_seconds() + request.pop("seconds") + 5))
        fields, body = answer(document, request, data)
        send.write(json.dumps({**fields, "bytes": len(body)}).encode() + b"\n")
        send.write(body)
        send.flush()


if __name__ == "__main__":
    main()
