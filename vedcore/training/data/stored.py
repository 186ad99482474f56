"""The data sets that lie on disk, and that a path is enough to open."""

from __future__ import annotations

import os
from pathlib import Path

from vedcore.training.data.archive import Archive
from vedcore.training.data.folder import Folder

STORED = (Folder, Archive)
"""Their labels are known without opening an image, so each has ``path`` and ``digest()``, and all samples can be checked."""


def open_stored(path: str | os.PathLike[str]) -> Folder | Archive:
    """The folder or the zip of labelled images at ``path``. Raises ConfigError if it cannot be read."""
    return Archive(path) if Path(path).suffix.lower() == ".zip" and not os.path.isdir(path) else Folder(Path(path))
