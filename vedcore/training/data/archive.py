"""A zip file of labelled images."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from vedcore.errors import ConfigError, TrainingError, foreign
from vedcore.storage.files import parse_json
from vedcore.training.data.problem import Fault, Problem, printable
from vedcore.training.data.sample import Sample, is_valid_text
from vedcore.training.data.validated import BadSampleError

LABELS = "labels.jsonl"
MAX_LABEL_BYTES = 256 * 2**20
MAX_IMAGE_BYTES = 64 * 2**20


class Archive:
    """A zip file of images with a labels.jsonl (``{"file": ..., "text": ...}`` per line).

    Samples that cannot be used are in ``problems`` and have no index. Raises ConfigError if it is not such a zip file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.problems: list[Problem] = []
        self._rows: list[tuple[str, str]] = []
        self._opened: tuple[int, zipfile.ZipFile] | None = None
        shown = printable(str(path))[:200]
        if not self.path.is_file():
            raise ConfigError(f"{shown}: no such file; expected a zip of labelled images", file=self.path)
        with foreign(ConfigError, f"{shown}: not a zip file that can be read", file=self.path):
            self._read()
        if not self._rows and not self.problems:
            raise ConfigError(f"{shown}: no labelled images in {LABELS}", file=self.path, expected=LABELS)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        name, text = self._rows[index]
        source = f"{self.path}/{name}"
        try:
            with foreign(TrainingError, f"not read from {self.path}"):
                return Sample(self._archive().read(name), text, source)
        except TrainingError as error:
            raise BadSampleError(Problem(Fault.unreadable_image, source, str(error))) from error

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def digest(self) -> str:
        """A hash of the names and the texts, in order. It does not read the images."""
        return hashlib.sha256(json.dumps(self._rows).encode()).hexdigest()[:16]

    def _archive(self) -> zipfile.ZipFile:
        """The open file. Each process opens its own, because two processes that share one move its position for each other."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), zipfile.ZipFile(self.path)
        return self._opened[1]

    def _read(self) -> None:
        with zipfile.ZipFile(self.path) as archive:
            sizes = {entry.filename: entry.file_size for entry in archive.infolist() if not entry.is_dir()}
            if LABELS not in sizes:
                raise ConfigError(
                    f"{self.path}: has no {LABELS} at its top level",
                    file=self.path,
                    expected=LABELS,
                    found=list(sizes)[:8],
                )
            if sizes[LABELS] > MAX_LABEL_BYTES:
                raise ConfigError(f"{self.path}: {LABELS} has {sizes[LABELS]} bytes, too many", file=self.path)
            content = archive.read(LABELS).decode("utf-8-sig")
        taken: set[str] = set()
        for number, line in enumerate(content.split("\n"), 1):
            if line.strip():
                self._add(f"{self.path}/{LABELS}:{number}", line, sizes, taken)

    def _add(self, place: str, line: str, sizes: Mapping[str, int], taken: set[str]) -> None:
        try:
            row = parse_json(line.encode(), "the line")
        except (ConfigError, ValueError) as cause:
            self._add_problem(Fault.bad_row, place, str(cause))
            return
        file, text = row.get("file"), row.get("text")
        if not is_valid_text(file) or not is_valid_text(text):
            self._add_problem(Fault.bad_row, place, "expected file and text, both strings")
            return
        name, source = PurePosixPath(str(file)).as_posix(), f"{self.path}/{file}"
        if name in taken:
            self._add_problem(Fault.two_labels, source, f"{LABELS} names it twice")
        elif name not in sizes:
            self._add_problem(Fault.missing_image, source, f"labelled {str(text)[:40]!r}")
        elif sizes[name] > MAX_IMAGE_BYTES:
            self._add_problem(Fault.unreadable_image, source, f"{sizes[name]} bytes, more than {MAX_IMAGE_BYTES}")
        elif not str(text).strip():
            self._add_problem(Fault.empty_label, source, "only white space" if text else "an empty text")
        else:
            self._rows.append((name, str(text)))
        taken.add(name)

    def _add_problem(self, fault: Fault, source: str, detail: str) -> None:
        self.problems.append(Problem(fault, source, detail))
