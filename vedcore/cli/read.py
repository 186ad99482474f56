"""``vedcore read``: read the text in images and documents."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from vedcore.cli.app import Debug, Threads, app, reported_errors, say
from vedcore.cli.inputs import Input, find_inputs
from vedcore.cli.outputs import Format, choose_target
from vedcore.cli.reading_progress import ReadingProgress, reading_progress
from vedcore.cli.row_formats import ReadPage
from vedcore.errors import ImageError

if TYPE_CHECKING:
    from vedcore.documents import Page
    from vedcore.reader import Reader


class Layout(StrEnum):
    """``vedcore.reader.LayoutName`` for the command line, which does not load torch before it needs it."""

    auto = "auto"
    page = "page"
    line = "line"
    whole = "whole"


@app.command()
def read(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="Images, TIFF and PDF files, folders of them, or - for stdin."),
    ],
    model: Annotated[
        str, typer.Option("--model", "-m", help="A folder, a hub id, or a checkpoint that a plugin ships.")
    ] = "line-reader",
    layout: Annotated[
        Layout | None,
        typer.Option(
            "--layout", "-l", help="What the images are: auto decides for each whether it is a line or a page."
        ),
    ] = None,
    segmenter: Annotated[
        str | None, typer.Option("--segmenter", help="What finds the lines of a page, if several are installed.")
    ] = None,
    beams: Annotated[int, typer.Option("--beams", min=1, help="The number of beams; 1 is greedy decoding.")] = 1,
    batch_size: Annotated[
        int,
        typer.Option("--batch-size", min=1, help="The number of lines, or pieces of them, that are decoded at once."),
    ] = 16,
    form: Annotated[
        Format | None,
        typer.Option(
            "--format",
            "-f",
            help="The output format. By default the suffix of --output decides; without one, lines "
            "are a table and pages are text.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write to this file, or one file for each document to this folder."),
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Also read the folders in a folder.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if there is a warning, or if a file in a folder is skipped.")
    ] = False,
    no_cut: Annotated[bool, typer.Option("--no-cut", help="The same as --layout whole.")] = False,
    threads: Threads = None,
    debug: Debug = False,
) -> None:
    """Read the text in images and documents."""
    with reported_errors(debug):
        inputs = find_inputs(paths, recursive)
        for line in (*inputs.skipped, *(f"{folder}: no images in this folder" for folder in inputs.empty)):
            say(f"vedcore: {line}", err=True)
        from vedcore.reader import Reader, check_segmenter, locate
        from vedcore.speed.threads import choose_threads

        target = choose_target(output, form, inputs, locate(model))
        choose_threads(threads)
        reader = Reader.load(model)
        if segmenter is not None:
            reader.segmenter = check_segmenter(segmenter)
        options: dict[str, Any] = {"batch_size": batch_size, "layout": layout and str(layout), "cut": not no_cut}
        if beams > 1:
            options["num_beams"] = beams
        with reading_progress(len(inputs.documents)) as progress:
            run = _Run(reader, inputs.documents, options, progress)
            target.write(run.pages())
        if run.failed or inputs.empty or (strict and (run.warned or inputs.skipped)):
            raise typer.Exit(1)


class _Run:
    """Reads the pages of documents, and says on stderr what is wrong with each."""

    def __init__(
        self, reader: Reader, documents: Sequence[Input], options: dict[str, Any], progress: ReadingProgress
    ) -> None:
        self.failed = self.warned = 0
        self._reader, self._documents, self._options, self._progress = reader, documents, options, progress
        self._opened: deque[tuple[Input, int]] = deque()  # the document of each page that has no result yet

    def pages(self) -> Iterator[ReadPage]:
        """The pages that can be read, in order."""
        for result in self._reader.each(self._open(), **self._options):
            document, pages = self._opened.popleft()
            if isinstance(result, ImageError):
                self.failed += 1
                say(f"vedcore: {result}", err=True)
                self._progress.advance(0)
                continue
            page = ReadPage(document, pages, result)
            for warning in result.warnings:
                self.warned += 1
                say(f"vedcore: {page.label}: {warning}", err=True)
            yield page
            self._progress.advance(max(1, len(result.lines)))

    def _open(self) -> Iterator[Page]:
        """The pages of all documents. A document that cannot be opened is one page, whose error appears in its turn."""
        from vedcore.documents import open_pages

        for document in self._documents:
            try:
                with open_pages(document.content) as pages:
                    self._progress.add(len(pages) - 1)
                    for page in pages:
                        self._opened.append((document, len(pages)))
                        yield page
            except ImageError as error:
                self._opened.append((document, 1))
                yield _unreadable(document, error)


def _unreadable(document: Input, error: ImageError) -> Page:
    """A page that stands for a document that cannot be opened."""
    from vedcore.documents import Page

    def load() -> NoReturn:
        raise error

    return Page(1, document.name, load)
