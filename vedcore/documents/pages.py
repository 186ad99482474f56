"""The pages of a document: of an image file, a TIFF file or a PDF file, each loaded when it is needed."""

from __future__ import annotations

import io
import os
import re
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from vedcore.documents.pdf import PDF_DEADLINE, PdfPages
from vedcore.errors import ImageError
from vedcore.vision import Origin, TiffFrames, format_of, image_dpi, load_image, open_file, origin_of

if TYPE_CHECKING:
    from PIL import Image

MAX_DOCUMENT_BYTES = 512 * 2**20
PDF_DPI = 300.0
_PDF = re.compile(rb"%PDF-")
_PDF_START = 1024
"""A PDF may begin after some other bytes; readers look for it in so many."""

DocumentSource = str | os.PathLike[str] | bytes
"""A path, or the bytes of a file."""


class Page:
    """A page of a document. It holds no pixels: ``load`` returns them.

    number: its number in the document, from 1. file: the document's name in messages.
    dpi: the horizontal resolution of the image that ``load`` returned last; None before, and if it is not known.
    """

    def __init__(self, number: int, file: str, load: Callable[[], Image.Image]) -> None:
        self.number, self.file = number, file
        self.dpi: float | None = None
        self._load = load

    def load(self) -> Image.Image:
        """The page as an upright RGB image, decoded or rendered anew in each call.

        Raises ImageError if this page cannot be read; the other pages of the document are not concerned.
        """
        image = self._load()
        self.dpi = image_dpi(image)
        return image

    def __repr__(self) -> str:
        return f"<page {self.number} of {self.file}>"


class _Loader(Protocol):
    """The pages of one kind of document."""

    def __len__(self) -> int: ...

    def load(self, index: int, origin: Origin) -> Image.Image: ...


class Pages:
    """The pages of an open document, in order. ``len`` is their number.

    Close it, or use it in a with statement: a PDF has a child process, a TIFF file stays open. Both also end when no one
    refers to the pages any more. A page of a closed document cannot be loaded.

    file: the document's name in messages. kind: "PDF", "TIFF", "JPEG" or another format.
    """

    def __init__(self, kind: str, loader: _Loader, origin: Origin, resources: ExitStack, *, numbered: bool) -> None:
        """numbered: whether a message about a page has its number. resources: closed with the document."""
        self.kind, self.file = kind, origin.name
        self._loader, self._origin, self._numbered = loader, origin, numbered
        self._end = weakref.finalize(self, resources.close)

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Page]:
        return (self._page(index) for index in range(len(self)))

    def close(self) -> None:
        """End the child process of a PDF; close the file. A second call does nothing."""
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _page(self, index: int) -> Page:
        name = f"{self._origin.name}, page {index + 1}" if self._numbered else self._origin.name
        origin = Origin(name, self._origin.file)

        def load() -> Image.Image:
            if not self._end.alive:
                raise origin.error("the document is closed; load its pages before")
            return self._loader.load(index, origin)

        return Page(index + 1, self._origin.name, load)


class _ImageFile:
    """The only page of an image file."""

    def __init__(self, source: DocumentSource) -> None:
        self._source = source

    def __len__(self) -> int:
        return 1

    def load(self, index: int, origin: Origin) -> Image.Image:
        return load_image(self._source)


def name_of(source: DocumentSource) -> Origin:
    """The name of a document in errors."""
    return Origin(f"document of {len(source)} bytes") if isinstance(source, bytes) else origin_of(source)


def open_pages(source: DocumentSource, *, pdf_dpi: float = PDF_DPI, deadline: float = PDF_DEADLINE) -> Pages:
    """The pages of a document: the only one of an image file, the frames of a TIFF file, or the pages of a PDF file.

    pdf_dpi: the resolution at which a page of a PDF is rendered; a page that would have too many pixels gets a lower one.
    deadline: the seconds after which the rendering of a page is given up.

    Raises ImageError for a file that is missing, too large, or of another format, for a PDF with a password or without
    pypdfium2, and for a document whose number of pages cannot be found. An error of one page is raised when it is loaded.
    """
    if not isinstance(source, (str, os.PathLike, bytes)):
        found = type(source).__name__
        raise ImageError(f"expected a path or bytes for a document, found {found}", expected="a path", found=found)
    origin = name_of(source)
    with ExitStack() as stack:
        file = io.BytesIO(source) if isinstance(source, bytes) else open_file(source, origin, MAX_DOCUMENT_BYTES)
        stack.enter_context(file)
        with origin.wrap_errors("cannot be read"):
            start = file.read(_PDF_START)
        kind = format_of(start)
        if kind == "TIFF":
            frames = TiffFrames(file, origin)
            return Pages(kind, frames, origin, stack.pop_all(), numbered=len(frames) > 1)
        if kind is not None:
            return Pages(kind, _ImageFile(source), origin, ExitStack(), numbered=False)
        if _PDF.search(start):
            pdf = PdfPages(source, origin, dpi=pdf_dpi, deadline=deadline)
            pages = ExitStack()
            pages.callback(pdf.close)
            return Pages("PDF", pdf, origin, pages, numbered=True)
        expected = "an image (PNG, JPEG, WEBP, GIF, BMP, TIFF) or a PDF"
        found = f"a file that begins with {start[:8]!r}; convert it" if start else "an empty file; copy it again"
        raise origin.error(f"expected {expected}, found {found}", expected=expected, found=start[:8])
