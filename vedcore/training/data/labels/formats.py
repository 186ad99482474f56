"""The table of formats, and how the format of a folder is found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vedcore.training.data.labels.collector import Collector
from vedcore.training.data.labels.pages import is_page_file, read_pages
from vedcore.training.data.labels.tables import read_table
from vedcore.training.data.labels.text_files import GT_SUFFIX, read_gt_files, read_txt_files

LABEL_FILES = ("labels.jsonl", "labels.csv", "labels.tsv", "metadata.jsonl", "metadata.csv")


@dataclass(frozen=True, slots=True)
class Format:
    """A format of labels. find: its files in a folder. read: their labels."""

    name: str
    find: Callable[[Collector], list[Path]]
    read: Callable[[Collector, Sequence[Path]], None]


def _label_files(found: Collector) -> list[Path]:
    return [path for name in LABEL_FILES if (path := found.folder / name).is_file()]


def _gt_files(found: Collector) -> list[Path]:
    return [path for path in found.files if path.name.endswith(GT_SUFFIX)]


def _page_files(found: Collector) -> list[Path]:
    return [path for path in found.files if path.suffix.lower() == ".xml" and is_page_file(path)]


FORMATS = (
    Format(" or ".join((", ".join(LABEL_FILES[:-1]), LABEL_FILES[-1])), _label_files, read_table),
    Format(f"a {GT_SUFFIX} file for each image", _gt_files, read_gt_files),
    Format("ALTO or PAGE files (.xml)", _page_files, read_pages),
    Format("a .txt file for each image", lambda found: found.images, read_txt_files),
)
"""The formats in order: a folder is read in the first that has a file in it."""

KNOWN_FORMATS = tuple(form.name for form in FORMATS)


def read_labels(found: Collector) -> None:
    """Fill ``found`` with the labels of its folder. Raises ConfigError for a label file that cannot be read."""
    for form in FORMATS:
        if files := form.find(found):
            form.read(found, files)
            return
