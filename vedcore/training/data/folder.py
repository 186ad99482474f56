"""A folder of images with their labels."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from vedcore.errors import ConfigError, foreign
from vedcore.training.data.labels import ENCODINGS, KNOWN_FORMATS, UTF_8, Collector, Label, read_labels
from vedcore.training.data.problem import Problem, printable
from vedcore.training.data.sample import Sample


class Folder:
    """A folder of images and their texts in one of the formats of ``vedcore.training.data.labels``: a label file
    (``labels.csv``, for example), ALTO or PAGE files, or a .gt.txt or .txt file for each image.

    encoding: of the label files: "utf-8", "latin-1" or "cp1252". Samples that cannot be used are in ``problems`` and have no
    index. Raises ConfigError if the folder has no labels or cannot be read.
    """

    def __init__(self, path: Path | str, *, encoding: str = UTF_8) -> None:
        if encoding not in ENCODINGS:
            raise ConfigError(
                f"the encoding of labels must be one of {', '.join(ENCODINGS)}, got {encoding!r}",
                field="encoding",
                expected=ENCODINGS,
                found=encoding,
            )
        self.path = Path(path)
        found = Collector(self.path, encoding)
        shown = printable(str(path))[:200]  # the name may be longer than a file system allows
        with foreign(ConfigError, f"{shown}: the folder cannot be read", file=path):
            if not self.path.is_dir():
                raise ConfigError(f"{path}: no such folder; expected a folder of images with their labels", file=path)
            read_labels(found)
        self.problems: list[Problem] = found.problems
        self._labels: list[Label] = found.labels
        if not self._labels and not self.problems:
            raise ConfigError(
                f"{self.path}: no labelled images; expected {'; '.join(KNOWN_FORMATS)}",
                file=self.path,
                expected=KNOWN_FORMATS,
            )

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> Sample:
        label = self._labels[index]
        return Sample(label.image if label.crop is None else label.crop, label.text, label.source)

    def digest(self) -> str:
        """A hash of the relative paths, the texts and the outlines of lines, in order. It does not read the images."""
        rows = [
            (label.image.relative_to(self.path).as_posix(), label.text, *([label.polygon] if label.polygon else []))
            for label in self._labels
        ]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]
