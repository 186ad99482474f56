"""``staged``: how vedcore writes a folder, completely or not at all.

New files are written to a hidden folder next to the target and flushed. Then the two folders are exchanged in one step. If
the process fails or is killed before that step, or if the disk is full, the old folder stays as it was.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vedcore.errors import SaveError, VedcoreError, foreign

MAX_KEPT = 10_000
"""The largest number of other files that may be in a checkpoint's folder. One with more is a home folder or a whole disk."""


@contextmanager
def staged(folder: str | os.PathLike[str], *, replaces: tuple[str, ...] = ()) -> Iterator[Path]:
    """Yield an empty folder to write into. At the end of the context its files become part of ``folder`` in one step.

    Other files in ``folder`` are kept, except those that match a pattern in ``replaces`` (old shards). A link to a folder
    stays a link.
    Raises SaveError, with ``folder`` unchanged, if it cannot be written, is a file, holds more than ``MAX_KEPT`` files, or is
    the working directory or one of its parents: a process whose working directory is exchanged would lose it.
    """
    # None or a name with a zero byte raises no OSError.
    with foreign(SaveError, f"{str(folder)[:200]!r}: not saved, for no folder can have that name", field="folder"):
        target = Path(os.path.realpath(folder))
    stage = target.parent / f".{target.name}.tmp-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    made: list[Path] = []
    try:
        if target.exists() and not target.is_dir():
            raise SaveError(
                f"{target}: exists and is not a folder; a checkpoint is saved to a folder",
                file=target,
                expected="a folder",
                found="a file",
            )
        _refuse_shared(target)
        _sweep(target)
        made += [parent for parent in stage.parents if not parent.exists()]
        stage.mkdir(parents=True)
        yield stage
        written = {path.name for path in stage.iterdir()}
        for path in sorted(stage.iterdir()):
            _flush(path)

        def stays(old: Path) -> bool:
            return old.name not in written and not any(old.match(pattern) for pattern in replaces)

        if target.is_dir():
            for old in filter(stays, target.iterdir()):
                _keep(old, stage / old.name)
            os.chmod(stage, target.stat().st_mode & 0o7777)
        _flush(stage)
        replaced = _exchange(stage, target)
        if replaced is not None:
            with suppress(OSError):
                for late in filter(stays, replaced.iterdir()):
                    _rescue(late, target / late.name)
            shutil.rmtree(replaced, ignore_errors=True)
        with suppress(OSError):  # the files are saved; only a power cut could still undo it
            _flush(target.parent)
    except VedcoreError:
        raise
    except OSError as cause:
        raise SaveError(f"{target}: not saved, the folder is as it was ({cause})", file=target) from cause
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        for parent in made:
            with suppress(OSError):  # not empty: it holds the saved folder
                parent.rmdir()


def _refuse_shared(target: Path) -> None:
    """Raise SaveError for a folder that cannot be written, or that is not only a checkpoint's."""
    if not target.is_dir():
        return
    if not os.access(target, os.W_OK):
        raise SaveError(
            f"{target}: not saved, for the folder may not be written to; change its mode, or name another", file=target
        )
    with suppress(FileNotFoundError):  # the working directory was removed
        if Path.cwd().is_relative_to(target):
            raise SaveError(
                f"{target}: is the working directory or holds it, and a save puts a new folder in its place; name a folder "
                "inside it, or run from elsewhere",
                file=target,
            )
    count = 0
    for _, _, files in os.walk(target):
        count += len(files)
        if count > MAX_KEPT:
            raise SaveError(
                f"{target}: holds more than {MAX_KEPT} other files; name a folder of the checkpoint's own",
                file=target,
                expected=f"at most {MAX_KEPT} files",
            )


def _rescue(late: Path, new: Path) -> None:
    """Move a file that another process wrote into the old folder during the save to the new one."""
    is_new = not os.path.lexists(new)
    if is_new or (late.is_file() and new.is_file() and not late.samefile(new)):
        os.replace(late, new)


def _keep(old: Path, new: Path) -> None:
    """Put ``old`` into the new folder: as a hard link if the file system has them, else as a copy."""

    def link(source: str, destination: str) -> str:
        try:
            os.link(source, destination, follow_symlinks=False)
        except OSError:
            shutil.copy2(source, destination, follow_symlinks=False)
        return destination

    if old.is_dir() and not old.is_symlink():
        shutil.copytree(old, new, symlinks=True, copy_function=link)
    else:
        link(str(old), str(new))


def _sweep(target: Path) -> None:
    """Remove what a killed save has left next to ``target``. If it had moved the old folder aside, move it back."""
    if not target.parent.is_dir():
        return
    prefix = f".{target.name}.tmp-"
    for left in [path for path in target.parent.iterdir() if path.name.startswith(prefix)]:
        process, _, _ = left.name.removeprefix(prefix).partition("-")
        if not process.isdecimal() or _is_alive(int(process)):
            continue
        if left.name.endswith("-old") and not target.exists():
            os.rename(left, target)
        else:
            shutil.rmtree(left, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # no process has a number that overflows, so the folder is not from a save
        return True
    return True


def _exchange(stage: Path, target: Path) -> Path | None:
    """Put ``stage`` in the place of ``target``. Returns the path that the old folder has now, if there was one."""
    if not target.exists():
        os.rename(stage, target)
        return None
    if _exchange_in_one_step(stage, target):
        return stage
    aside = stage.with_name(stage.name + "-old")
    os.rename(target, aside)
    try:
        os.rename(stage, target)
    except BaseException:
        os.rename(aside, target)
        raise
    return aside


def _exchange_in_one_step(stage: Path, target: Path) -> bool:
    """Swap two folders with renameat2(RENAME_EXCHANGE). Returns False if the kernel or the file system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    here, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(rename(here, os.fsencode(stage), here, os.fsencode(target), swap) == 0)


def _flush(path: Path) -> None:
    if path.is_symlink():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
