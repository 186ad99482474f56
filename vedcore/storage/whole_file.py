"""``whole_file``: how a document is written, completely or not at all."""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vedcore.errors import SaveError, VedcoreError, foreign


@contextmanager
def whole_file(path: str | os.PathLike[str], *, apart_from: str | os.PathLike[str] | None = None) -> Iterator[Path]:
    """Yield the path of an empty file to write to. At the end of the context it takes the place of ``path``, in one step.

    Raises SaveError, with the file at ``path`` unchanged, if it cannot be written, is no regular file, or is the file
    ``apart_from``, under whatever name.
    """
    # None or a name with a zero byte raises no OSError.
    with foreign(SaveError, f"{str(path)[:200]!r}: not written, for no file can have that name", field="path"):
        target = Path(os.path.realpath(path))
    aside = target.with_name(f".vedcore-{uuid.uuid4().hex[:12]}.tmp")
    try:
        mode = _mode_of(target, apart_from)
        os.close(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield aside
        if mode is not None:
            os.chmod(aside, mode)
        _flush(aside)
        os.replace(aside, target)
        with suppress(OSError):  # the file is written; only a power cut could still undo it
            _flush(target.parent)
    except VedcoreError:
        raise
    except OSError as cause:
        raise SaveError(
            f"{target}: not written ({cause.strerror or cause}); what was there is unchanged", file=target
        ) from cause
    finally:
        with suppress(OSError):
            aside.unlink()


def _mode_of(target: Path, apart_from: str | os.PathLike[str] | None) -> int | None:
    """The permissions of the file that will be replaced. Raises SaveError if it must not be."""
    try:
        found = target.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        raise SaveError(f"{target}: exists and is not a regular file; name another file", file=target)
    if apart_from is not None and os.path.samefile(target, apart_from):
        raise SaveError(f"{target}: is the document that is read; name another file", file=target)
    return stat.S_IMODE(found.st_mode)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
