"""``new_file``: write a single file, completely or not at all."""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to write into. At the end of the context it takes the place of ``path`` in one step.

    After an error ``path`` is as it was. A link stays a link, and the file keeps the permissions that it had. What is not a
    regular file, such as a pipe, is written directly. Raises OSError.
    """
    target = Path(os.path.realpath(path))
    mode = target.stat().st_mode if target.exists() else None
    if mode is not None and not stat.S_ISREG(mode):
        with target.open("wb") as file:
            yield file
        return
    aside = target.with_name(f".{target.name[:200]}.tmp-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        with aside.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            os.chmod(aside, stat.S_IMODE(mode))
        os.replace(aside, target)
    finally:
        with suppress(FileNotFoundError):
            aside.unlink()
