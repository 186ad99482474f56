"""The data sets that lie on disk, and that a path is enough to open."""

from __future__ import annotations

import os
from pathlib import Path

from vedcore.errors import ConfigError
from vedcore.training.data.archive import Archive
from vedcore.training.data.folder import Folder
from vedcore.training.data.labels import UTF_8

STORED = (Folder, Archive)
"""Their labels are known without opening an image, so each has ``path`` and ``digest()``, and all samples can be checked."""


Stored = Folder | Archive


def open_stored(path: str | os.PathLike[str], encoding: str = UTF_8) -> Stored:
    """The folder or the zip of labelled images at ``path``. encoding: of the label files in a folder; a zip is in UTF-8.

    Raises ConfigError if it cannot be read.
    """
    if Path(path).suffix.lower() != ".zip" or os.path.isdir(path):
        return Folder(Path(path), encoding=encoding)
    if encoding != UTF_8:
        raise ConfigError(f"{path}: the labels in a zip are in UTF-8, not in {encoding}", file=path, field="encoding")
    return Archive(path)
