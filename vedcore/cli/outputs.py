"""Where ``vedcore read`` writes: stdout, one file, or a folder with one file for each document."""

from __future__ import annotations

import io
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, groupby
from pathlib import Path
from typing import Protocol, TextIO

from vedcore.cli.app import say, writable
from vedcore.cli.inputs import Input, Inputs
from vedcore.cli.row_formats import Pages, ReadPage, as_csv, as_table, jsonl, table_or_text, text
from vedcore.errors import VedcoreError
from vedcore.storage.whole_file import whole_file


class Format(StrEnum):
    """The output format of readings."""

    table = "table"
    text = "text"
    jsonl = "jsonl"
    csv = "csv"
    hocr = "hocr"
    alto = "alto"
    pdf = "pdf"


OF_SUFFIX = {
    ".txt": Format.text,
    ".jsonl": Format.jsonl,
    ".csv": Format.csv,
    ".hocr": Format.hocr,
    ".html": Format.hocr,
    ".xml": Format.alto,
    ".pdf": Format.pdf,
}
"""The default format for each suffix of --output."""

SUFFIX = {Format.table: ".txt", Format.text: ".txt", Format.alto: ".xml"}
"""What the files in an output folder end with, where it is not the name of the format."""

Rows = Callable[[Pages, bool], Iterator[str]]
"""Pages, and whether the output is a terminal -> text, one part for each page."""

ROWS: dict[Format | None, Rows] = {
    None: table_or_text,
    Format.table: as_table,
    Format.text: text,
    Format.jsonl: jsonl,
    Format.csv: as_csv,
}
"""The formats in which several documents can be one output; None is the default."""


class Target(Protocol):
    """Where the text goes."""

    def write(self, pages: Iterator[ReadPage]) -> None:
        """Write all pages. Raises VedcoreError if a file cannot be written."""


@dataclass(frozen=True, slots=True)
class Stdout:
    """Standard output. A terminal gets all text at the end, since the progress bar would overwrite it."""

    form: Format | None

    def write(self, pages: Iterator[ReadPage]) -> None:
        """Write each page as soon as it is read."""
        stdout, collected = sys.stdout, io.StringIO()
        stream: TextIO = collected if stdout.isatty() else stdout
        try:
            for chunk in _chunks(self.form, pages, stdout.isatty()):
                with _explained("stdout", "written only in part"):
                    stream.write(writable(chunk, stdout.encoding))
                    stream.flush()
        finally:
            stdout.write(collected.getvalue())


@dataclass(frozen=True, slots=True)
class RowFile:
    """A file of rows. It gets each row as soon as it is read, so that an interrupted run keeps its rows."""

    path: Path
    form: Format | None

    def write(self, pages: Iterator[ReadPage]) -> None:
        """Write each page as soon as it is read."""
        if not self.path.parent.is_dir():
            raise VedcoreError(
                f"{self.path}: not written, because there is no folder {self.path.parent}", file=self.path
            )
        with _explained(self.path, "not written"):
            file = self.path.open("wb", buffering=0)
        with file:
            for chunk in _chunks(self.form, pages, terminal=False):
                with _explained(self.path, "written only in part"):
                    _write_all(file, writable(chunk).encode())


@dataclass(frozen=True, slots=True)
class DocumentFiles:
    """One file for each document, written when its last page is read: completely or not at all."""

    paths: Mapping[Input, Path]
    form: Format

    def write(self, pages: Iterator[ReadPage]) -> None:
        """Write the file of each document. A document without a page that could be read gets none."""
        for folder in dict.fromkeys(path.parent for path in self.paths.values()):  # before anything is read
            with _explained(folder, "cannot be made"):
                folder.mkdir(parents=True, exist_ok=True)
        for document, its_pages in groupby(pages, key=lambda page: page.document):
            path = self.paths[document]
            if self.form == Format.pdf:
                _write_pdf(path, list(its_pages))
                continue
            with whole_file(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
                for chunk in _chunks(self.form, its_pages, terminal=False):
                    file.write(writable(chunk))


def _write_pdf(path: Path, pages: Sequence[ReadPage]) -> None:
    """Write the document of these pages as a searchable PDF; the pages that are missing could not be read."""
    from vedcore.documents import write_searchable_pdf

    document, count = pages[0].document, pages[0].pages
    readings = {page.reading.page: page.reading for page in pages}
    listed = [readings.get(number) for number in range(1, count + 1)]
    for number in write_searchable_pdf(document.content, path, listed):
        if number in readings:
            say(f"vedcore: {path}, page {number}: without text, because it could not be added", err=True)


def choose_target(output: Path | None, form: Format | None, inputs: Inputs, model: Path) -> Target:
    """Where the text of the documents goes. output: a file or a folder, or None for stdout. model: a folder to protect.

    A file holds one document, except in a format of rows. So several documents need a folder, unless the format is one of
    rows and ``output`` has a suffix. Raises VedcoreError if ``output`` does not fit, or if an input or a file of the model
    would be overwritten.
    """
    if form is None and output is not None and output.suffix and not output.is_dir():
        form = OF_SUFFIX.get(output.suffix.lower())
        if form is None:
            known = ", ".join(OF_SUFFIX)
            raise VedcoreError(
                f"{output}: no format has the suffix {output.suffix}; add --format, or use one of {known}",
                file=output,
                field="output",
                expected=known,
                found=output.suffix,
            )
    documents, one_each = inputs.documents, form not in ROWS
    if output is None:
        if form == Format.pdf or (one_each and len(documents) > 1):
            raise VedcoreError(
                f"--format {form} needs --output: a file for one document, a folder for several", field="output"
            )
        return Stdout(form)
    if one_each and len(documents) > 1 and output.suffix.lower() in OF_SUFFIX and not output.is_dir():
        raise VedcoreError(
            f"{output}: {len(documents)} documents need a folder, since a file in the format {form} holds one; use "
            f"--output {output.with_suffix('')}",
            file=output,
            field="output",
        )
    if output.is_dir() or (inputs.several and not output.suffix) or (one_each and len(documents) > 1):
        paths = _paths_in(output, form or Format.text, documents)
    elif one_each:
        paths = dict.fromkeys(documents, output)
    else:
        _refuse_overwriting([output], inputs, model)
        return RowFile(output, form)
    _refuse_overwriting(paths.values(), inputs, model)
    return DocumentFiles(paths, form or Format.text)


def _chunks(form: Format | None, pages: Iterator[ReadPage], terminal: bool) -> Iterator[str]:
    """The text of the pages in a format, in parts; in a format of documents, pages of one document."""
    if form in ROWS:
        yield from ROWS[form](pages, terminal)
        return
    from vedcore.documents import alto, hocr

    for first in pages:  # at most one turn: the generator takes the others
        readings = (page.reading for page in chain([first], pages))
        yield from (hocr if form == Format.hocr else alto)(readings, title=first.document.name)


def _paths_in(folder: Path, form: Format, documents: Sequence[Input]) -> dict[Input, Path]:
    """The path of each document's file: its own path, with the suffix of the format in place of, or after, its own."""
    suffix = SUFFIX.get(form, f".{form}")
    short = {document: document.place.with_suffix(suffix) for document in documents}
    counts = Counter(short.values())
    paths = {
        document: folder / (path if counts[path] == 1 else document.place.with_name(document.place.name + suffix))
        for document, path in short.items()
    }
    for path, count in Counter(paths.values()).items():
        if count > 1:
            names = ", ".join(document.name for document, own in paths.items() if own == path)
            raise VedcoreError(
                f"{path}: would be the output of {count} documents ({names}); read them in separate runs", file=path
            )
    return paths


def _refuse_overwriting(paths: Iterable[Path], inputs: Inputs, model: Path) -> None:
    """Raises VedcoreError if a path is one of the documents, under any name, a file beside them, or in the model's folder.

    Files beside images may be their labels, and nobody could write those again.
    """
    documents = {identity for document in inputs.documents if (identity := _identity(document.content))}
    folders = [folder.resolve() for folder in inputs.folders]
    for path in paths:
        if path.is_file() and any(path.resolve().is_relative_to(folder) for folder in folders):
            raise VedcoreError(
                f"{path}: not written, because a file of that name is in the folder that is read; choose another --output",
                file=path,
            )
        if _identity(path) in documents:
            raise VedcoreError(
                f"{path}: not written, because it is one of the documents; choose another --output", file=path
            )
        if path.resolve().is_relative_to(model.resolve()):
            raise VedcoreError(
                f"{path}: not written, because it is in the folder of the model; choose another --output", file=path
            )


def _identity(path: Path | bytes) -> tuple[int, int] | None:
    """The device and the inode of a file, which all its hard links share; None if there is no such file."""
    if isinstance(path, bytes):
        return None
    with suppress(OSError, ValueError):
        status = path.stat()
        return status.st_dev, status.st_ino
    return None


def _write_all(file: io.FileIO, data: bytes) -> None:
    """Write the bytes at once: what a full disk does not take must not be tried again when the file is closed."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


@contextmanager
def _explained(path: Path | str, what: str) -> Iterator[None]:
    """Raise VedcoreError for an OSError; not if no one reads the other end of a pipe, which is no error of ours."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as cause:
        raise VedcoreError(f"{path}: {what} ({cause.strerror or cause})", file=path) from cause
