"""Searchable PDF files: the pages of a document as they look, with the text that was read on them, invisible."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from vedcore.documents.child import Child, ChildFailed, Refused
from vedcore.documents.invisible_font import Codes, font_file
from vedcore.documents.pages import DocumentSource, Page, Pages, name_of, open_pages
from vedcore.documents.pdf import PDF_DEADLINE
from vedcore.documents.pdf_file import PdfFile
from vedcore.documents.pictures import Picture, image_picture, jpeg_picture
from vedcore.documents.placing import PageReading, PlacedWord, placed_words
from vedcore.errors import InputError, SaveError
from vedcore.storage.whole_file import whole_file
from vedcore.vision import MAX_BYTES, read_file

SAVE_DEADLINE = 300.0
"""Seconds for writing a whole PDF."""
_MAX_RESTARTS = 5
_EMPTY_PAGE = (595.0, 842.0)


def write_searchable_pdf(
    source: DocumentSource,
    path: str | os.PathLike[str],
    readings: Iterable[PageReading | None],
    *,
    deadline: float = PDF_DEADLINE,
) -> tuple[int, ...]:
    """Write the document ``source`` to ``path`` as a PDF in which the text of ``readings`` can be searched and copied.

    A PDF keeps its pages, links, outline and fields, and gets text; a signature in it is no longer valid. Of an image the
    page is as large as its resolution says, or as 150 dpi make it; a JPEG file becomes part of the PDF as it is, other images
    without loss. ``readings`` has a ``Reading``, or None, for each page; for images it may be a generator.

    Returns the numbers of the pages, from 1, whose picture or text could not be written: a page without its picture is empty.
    Raises ImageError if the document cannot be opened, InputError for another number of readings than of pages, and
    SaveError, with the file at ``path`` unchanged, if it cannot be written or is the document.
    """
    read = None if isinstance(source, bytes) else source
    with open_pages(source) as pages, whole_file(path, apart_from=read) as target:
        if pages.kind == "PDF":
            listed = [reading for _, reading in _pairs(pages, readings)]
            pages.close()
            return _add_to_pdf(source, target, listed, deadline)
        return _write_images(source, pages, target, readings)


def _write_images(
    source: DocumentSource, pages: Pages, target: Path, readings: Iterable[PageReading | None]
) -> tuple[int, ...]:
    failed, codes = [], Codes()
    with open(target, "wb") as file:
        written = PdfFile(file, codes)
        for page, reading in _pairs(pages, readings):
            picture: Picture | None = None
            words: list[PlacedWord] = []
            try:
                picture = _picture(source, pages.kind, page)
                if reading is not None:
                    width, height = picture.page_size
                    words = placed_words(reading, ((0, height), (width, height), (0, 0)), codes)
            except ValueError:  # such as an ImageError
                if picture is None and len(pages) == 1:
                    raise
                failed.append(page.number)
            written.add_page(picture.page_size if picture else _EMPTY_PAGE, picture, words)
        written.finish()
    return tuple(failed)


def _pairs(pages: Pages, readings: Iterable[PageReading | None]) -> Iterator[tuple[Page, PageReading | None]]:
    """Each page with its reading. Raises InputError for more or fewer readings than pages."""
    remaining = iter(readings)
    for page in pages:
        try:
            reading = next(remaining)
        except StopIteration:
            raise _wrong_number(pages, page.number - 1) from None
        yield page, reading
    for _ in remaining:
        raise _wrong_number(pages, len(pages) + 1)


def _wrong_number(pages: Pages, found: int) -> InputError:
    more = " or more" if found > len(pages) else ""
    return InputError(
        f"readings: expected {len(pages)}, one for each page of {pages.file}, found {found}{more}",
        field="readings",
        expected=len(pages),
        found=found,
    )


def _picture(source: DocumentSource, kind: str, page: Page) -> Picture:
    """The picture of a page. Raises ImageError if it cannot be read."""
    if kind == "JPEG":
        origin = name_of(source)
        data = source if isinstance(source, bytes) else read_file(source, origin, MAX_BYTES)
        picture = jpeg_picture(data, origin)
        if picture is not None:
            return picture
    return image_picture(page.load())


def _add_to_pdf(
    source: DocumentSource, target: Path, readings: list[PageReading | None], deadline: float
) -> tuple[int, ...]:
    """Let the child add the text and write the document. A page at which it dies is left out of the next attempt."""
    origin = name_of(source)
    failed: set[int] = set()
    for _ in range(_MAX_RESTARTS):
        with closing(Child(source, origin, deadline)) as child:
            try:
                _add_text(child, readings, failed)
                child.ask({"do": "save", "path": str(target)}, deadline=SAVE_DEADLINE)
            except _DiedAt as page:
                failed.add(page.index)
                continue
            except (ChildFailed, Refused) as cause:
                raise SaveError(
                    f"{origin.name}: not written as a searchable PDF; pdfium: {cause}", file=origin.file
                ) from cause
            return tuple(sorted(index + 1 for index in failed))
    raise SaveError(
        f"{origin.name}: not written as a searchable PDF; pdfium fails at {len(failed)} pages or more; repair the file, "
        "e.g. with: qpdf IN.pdf OUT.pdf",
        file=origin.file,
    )


class _DiedAt(Exception):
    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index


def _add_text(child: Child, readings: list[PageReading | None], failed: set[int]) -> None:
    """Add the text of the readings, except that of the pages in ``failed``, which gets those that the child refuses.

    Raises _DiedAt with the page, from 0, at which the child has died.
    """
    codes = Codes()
    placed: dict[int, list[PlacedWord]] = {}
    for index, reading in enumerate(readings):
        if reading is None or index in failed:
            continue
        with _at_page(index, failed):
            placed[index] = placed_words(reading, child.ask({"do": "corners", "page": index})["corners"], codes)
    if not len(codes):
        return
    font = font_file()
    request = {"do": "font", "size": len(font), "unicode_map": codes.unicode_map().decode("ascii")}
    child.ask(request, font + codes.glyph_map())
    for index, words in placed.items():
        with _at_page(index, failed):
            if words:
                written = [(word.size, word.matrix, word.codes) for word in words]
                child.ask({"do": "text", "page": index, "words": written})


@contextmanager
def _at_page(index: int, failed: set[int]) -> Iterator[None]:
    try:
        yield
    except ChildFailed as cause:
        raise _DiedAt(index) from cause
    except (Refused, ValueError):
        failed.add(index)
