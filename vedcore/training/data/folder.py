"""A folder of images with their labels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from vedcore.errors import ConfigError, foreign
from vedcore.training.data.label_files import LABEL_FILES, Row, read_rows, read_text
from vedcore.training.data.problem import Fault, Problem, printable
from vedcore.training.data.sample import Sample, is_valid_text

IMAGE_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp"}


class Folder:
    """A folder of images and a labels.jsonl (``{"file": ..., "text": ...}`` per line), a labels.csv (columns file and text),
    or one .txt file per image.

    Samples that cannot be used are in ``problems`` and have no index. Raises ConfigError if the folder has no labels or
    cannot be read.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.problems: list[Problem] = []
        self._rows: list[tuple[Path, str]] = []
        shown = printable(str(path))[:200]  # the name may be longer than a file system allows
        with foreign(ConfigError, f"{shown}: the folder cannot be read", file=path):
            self._read()
        if not self._rows and not self.problems:
            raise ConfigError(
                f"{self.path}: no labelled images; expected {' or '.join(LABEL_FILES)}, or a .txt file for each image",
                file=self.path,
                expected=LABEL_FILES,
            )

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        path, text = self._rows[index]
        return Sample(path, text, str(path))

    def digest(self) -> str:
        """A hash of the relative paths and the texts, in order. It does not read the images."""
        rows = [(path.relative_to(self.path).as_posix(), text) for path, text in self._rows]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]

    def _read(self) -> None:
        if not self.path.is_dir():
            raise ConfigError(
                f"{self.path}: no such folder; expected a folder of images with their labels", file=self.path
            )
        found = [name for name in LABEL_FILES if (self.path / name).is_file()]
        if len(found) > 1:
            raise ConfigError(
                f"{self.path}: has both {' and '.join(found)}; keep one of them", file=self.path, found=found
            )
        texts = self._texts_of_label_file(self.path / found[0]) if found else self._texts_of_txt_files()
        for file, text in texts.items():
            self._add(file, text)

    def _add(self, file: str, text: str) -> None:
        path = self.path / file
        if Path(file).is_absolute() or ".." in Path(file).parts:
            self._add_problem(Fault.missing_image, file, f"a file outside of {self.path} is not read")
        elif not path.is_file():
            self._add_problem(Fault.missing_image, str(path), f"labelled {text[:40]!r}")
        elif not text.strip():
            self._add_problem(Fault.empty_label, str(path), "only white space" if text else "an empty text")
        else:
            self._rows.append((path, text))

    def _add_problem(self, fault: Fault, source: str, detail: str) -> None:
        self.problems.append(Problem(fault, source, detail))

    def _images(self) -> Iterator[Path]:
        files = sorted(self.path.rglob("*"))
        return (path for path in files if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())

    def _texts_of_txt_files(self) -> dict[str, str]:
        """The text of each image that has a .txt file of its own."""
        texts: dict[str, str] = {}
        image_of: dict[Path, str] = {}
        for path in self._images():
            name, label = str(path.relative_to(self.path)), path.with_suffix(".txt")
            if label in image_of:
                self._add_problem(Fault.two_labels, str(path), f"{label.name} is also the label of {image_of[label]}")
                texts.pop(image_of[label], None)
            elif not label.is_file():
                self._add_problem(Fault.no_label, str(path), f"there is no {label.name}")
            else:
                texts[name] = read_text(label).rstrip("\r\n")
            image_of[label] = name
        return texts

    def _texts_of_label_file(self, path: Path) -> dict[str, str]:
        """The text of each image that the label file ``path`` names exactly once."""
        texts: dict[str, list[str]] = {}
        for number, row in read_rows(path):
            reason = self._fault_of_row(row)
            if reason or isinstance(row, str):
                self._add_problem(Fault.bad_row, f"{path}:{number}", reason)
            else:
                texts.setdefault(Path(row["file"]).as_posix(), []).append(row["text"])
        for file, several in texts.items():
            if len(several) > 1:
                shown = ", ".join(repr(text[:40]) for text in several[:3])
                self._add_problem(Fault.two_labels, str(self.path / file), f"{path.name} has {len(several)}: {shown}")
        for image in self._images():
            if image.relative_to(self.path).as_posix() not in texts:
                self._add_problem(Fault.no_label, str(image), f"not in {path.name}")
        return {file: several[0] for file, several in texts.items() if len(several) == 1}

    def _fault_of_row(self, row: Row) -> str:
        """The reason why a row is not a label; an empty string if it is one."""
        if isinstance(row, str):
            return row
        for value in (row.get("file"), row.get("text")):
            if not isinstance(value, str):
                return "expected file and text, both strings"
            if not is_valid_text(value):
                return f"{value[:40]!r} contains half of a character (a lone surrogate)"
        try:
            (self.path / row["file"]).is_file()
        except OSError as cause:
            return f"{row['file'][:40]!r} cannot be the name of a file ({cause.strerror})"
        return ""
