"""The documents that the arguments of ``vedcore read`` name: files, the files in folders, and stdin."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pdf", ".png", ".tif", ".tiff", ".webp"}
"""What a file in a folder must end with to be read. A file that is named itself is always opened."""

_LABELS = {
    "labels.csv",
    "labels.jsonl",
    "labels.tsv",
    "metadata.csv",
    "metadata.jsonl",
}  # the texts of the images beside them, for training; never worth a message


@dataclass(frozen=True, eq=False, slots=True)
class Input:
    """A document, distinct from any other, even if both are the same file.

    name: in the output. content: its path, or its bytes if it comes from stdin.
    place: its path below the folder that was named, or its file name; the output has the same path below its own folder.
    """

    name: str
    content: Path | bytes
    place: Path


@dataclass(slots=True)
class Inputs:
    """The documents in order, what was skipped in each folder (a short text), and the folders without a document.

    several: whether the arguments may name more than one document. folders: those that are read.
    """

    several: bool
    folders: list[Path] = field(default_factory=list)
    documents: list[Input] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    empty: list[Path] = field(default_factory=list)


def find_inputs(paths: Sequence[str], recursive: bool) -> Inputs:
    """The documents that ``paths`` name; ``-`` is stdin. recursive: also those in folders of a folder.

    Raises OSError for a folder that cannot be listed.
    """
    found = Inputs(several=len(paths) > 1 or any(map(os.path.isdir, paths)))
    for text in paths:
        if text == "-":
            found.documents.append(Input("-", sys.stdin.buffer.read(), Path("stdin")))
        elif os.path.isdir(text):  # unlike Path.is_dir, no error for a name that is too long
            _add_folder(found, Path(text), recursive)
        else:
            found.documents.append(Input(text, Path(text), Path(os.path.basename(text))))
    return found


def _add_folder(found: Inputs, folder: Path, recursive: bool) -> None:
    found.folders.append(folder)
    files, folders = _contents(folder, recursive)
    documents = [file for file in files if file.suffix.lower() in SUFFIXES]
    others = [
        str(file.relative_to(folder))
        for file in files
        if file.suffix.lower() not in SUFFIXES and file.name not in _LABELS
    ]
    found.documents += [Input(str(file), file, file.relative_to(folder)) for file in documents]
    if not documents:
        found.empty.append(folder)
    if others:
        found.skipped.append(f"{folder}: skipped, because not an image or a document: {_some(others)}")
    if folders:
        names = [str(path.relative_to(folder)) for path in folders]
        found.skipped.append(f"{folder}: skipped folders (--recursive reads them): {_some(names)}")


def _contents(folder: Path, recursive: bool) -> tuple[list[Path], list[Path]]:
    """The files in a folder, sorted, and the folders in it that are not searched. Hidden ones are left out."""
    if recursive:
        return sorted(_walk(folder)), []
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    return [path for path in entries if not path.is_dir()], [path for path in entries if path.is_dir()]


def _walk(folder: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise error

    # Links to folders are not followed, so that a link to a parent does not repeat its files without end.
    for parent, folders, files in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in files if not name.startswith("."))


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
