"""Folders and JSON files: read strictly, written whole or not at all.

``staged(folder)`` is the one way in which anything of vedcore reaches the disk: the new files are written to a hidden
folder beside the target, flushed, and exchanged with it in one step. A failure, a kill or a full disk before that step
leaves the old folder as it was.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vedcore.errors import CheckpointError, CheckpointNotFound, ConfigError, SaveError, VedcoreError, foreign

MAX_JSON_BYTES = 64 * 1024 * 1024
MAX_JSON_DEPTH = 64
MAX_KEPT = 10_000
"""More files than stand beside a checkpoint: a folder that holds as many is not one for it, but a home or a whole disk."""


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Stricter than ``json.load``: a duplicate key, NaN or Infinity, nesting beyond 64 and anything but an object at the
    top are refused, since each of them means that two readers of the file would see two different things.

    Raises CheckpointNotFound (no such file), CheckpointError (it cannot be read) or ConfigError (what is wrong with it).
    """
    with foreign(CheckpointNotFound, f"{str(path)[:200]}: no such file"):  # a name that is too long
        is_file = path.is_file()
    if not is_file:
        raise CheckpointNotFound(f"{path}: no such file")
    if path.stat().st_size > MAX_JSON_BYTES:
        raise ConfigError(f"{path}: {path.stat().st_size} bytes, more than the {MAX_JSON_BYTES} allowed for JSON")
    with foreign(CheckpointError, str(path)):
        data = path.read_bytes()
    return parse_json(data, str(path))


def parse_json(data: bytes, where: str) -> dict[str, Any]:
    """The object in ``data``, as strictly as ``read_json``; ``where`` stands in front of an error."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in items:
            if name in found:
                raise ConfigError(f"{where}: key {name!r} appears twice")
            found[name] = value
        return found

    def constant(text: str) -> Any:
        raise ConfigError(f"{where}: {text} is not JSON")

    def number(text: str) -> float:
        value = float(text)
        if value in (float("inf"), float("-inf")):
            raise ConfigError(f"{where}: number {text} is too large")
        return value

    try:
        found = json.loads(data.decode("utf-8"), object_pairs_hook=pairs, parse_constant=constant, parse_float=number)
    except ConfigError:
        raise
    except (ValueError, RecursionError) as cause:
        raise ConfigError(f"{where}: not valid JSON ({' '.join(str(cause).split())[:200]})") from cause
    if not isinstance(found, dict):
        raise ConfigError(f"{where}: expected a JSON object, found {type(found).__name__}")
    if _depth(found) > MAX_JSON_DEPTH:
        raise ConfigError(f"{where}: nested deeper than {MAX_JSON_DEPTH} levels")
    return found


def _depth(value: Any) -> int:
    deepest, pending = 0, [(value, 1)]
    while pending:
        item, level = pending.pop()
        children = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
        if isinstance(item, (dict, list)):
            deepest = max(deepest, level)
        pending += [(child, level + 1) for child in children]
    return deepest


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as transformers does: ASCII, two spaces, sorted keys, a final newline. ConfigError if it cannot be."""
    with foreign(ConfigError, f"{path}: not written as JSON"):
        text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def inside(folder: Path, name: str) -> Path:
    """The file ``name`` of ``folder``. A name with a path in it is refused: a checkpoint reads only its own folder."""
    if not isinstance(name, str) or name in ("", ".", "..") or any(mark in name for mark in "/\\\0:"):
        raise CheckpointError(f"{folder}: file name {name!r} leaves the folder; only a bare file name is read")
    path = folder / name
    with foreign(CheckpointError, f"{folder}: file name {name[:80]!r}"):  # longer than any name of a file may be
        irregular = path.exists() and not path.is_file()
    if irregular:
        raise CheckpointError(f"{path}: not a regular file")
    return path


@contextmanager
def staged(folder: str | os.PathLike[str], *, replaces: tuple[str, ...] = ()) -> Iterator[Path]:
    """Yield an empty folder to write into; on leaving, its files become part of ``folder`` in one step.

    Files of ``folder`` that were not written anew stay, except those that match a pattern in ``replaces`` (old shards).
    Raises SaveError, with ``folder`` untouched; so for the working directory and what holds it, which cannot be exchanged
    under a process that stands in it.
    """
    # None, or a name with a zero byte in it, is no OSError.
    with foreign(SaveError, f"{str(folder)[:200]!r}: not saved, for no folder can have that name"):
        target = Path(os.path.realpath(folder))  # what a link leads to is replaced, and not the link
    stage = target.parent / f".{target.name}.tmp-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    made: list[Path] = []
    try:
        if target.exists() and not target.is_dir():
            raise SaveError(f"{target}: exists and is not a folder; a checkpoint is saved to a folder")
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
                    _bring(late, target / late.name)
            shutil.rmtree(replaced, ignore_errors=True)
        with suppress(OSError):  # the save has happened; that it outlasts a power cut is all that is not certain
            _flush(target.parent)
    except VedcoreError:
        raise
    except OSError as cause:
        raise SaveError(f"{target}: not saved, the folder is as it was ({cause})") from cause
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        for parent in made:
            with suppress(OSError):  # it holds something: the checkpoint, where the save happened
                parent.rmdir()


def _refuse_shared(target: Path) -> None:
    """SaveError for a folder that is more than a checkpoint's own, or may not be written to."""
    if not target.is_dir():
        return
    if not os.access(target, os.W_OK):
        raise SaveError(f"{target}: not saved, for the folder may not be written to; change its mode, or name another")
    with suppress(FileNotFoundError):  # the working directory is gone: it is nobody's
        if Path.cwd().is_relative_to(target):
            raise SaveError(
                f"{target}: is the working directory or holds it, and a save puts a new folder in its place; name a folder "
                "inside it, or run from elsewhere"
            )
    count = 0
    for _, _, files in os.walk(target):
        count += len(files)
        if count > MAX_KEPT:
            raise SaveError(f"{target}: holds more than {MAX_KEPT} other files; name a folder of the checkpoint's own")


def _bring(late: Path, new: Path) -> None:
    """Take along what somebody else wrote into the old folder while the new one was made."""
    is_new = not os.path.lexists(new)
    if is_new or (late.is_file() and new.is_file() and not late.samefile(new)):
        os.replace(late, new)


def _keep(old: Path, new: Path) -> None:
    """Carry ``old`` over: a second name for the same bytes where the file system can, else a copy."""

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
    """Remove what a save that was killed has left beside ``target``; a folder that it had set aside goes back."""
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
    except (OSError, OverflowError):  # the latter: no process has a number so large, so the folder is no save's
        return True
    return True


def _exchange(stage: Path, target: Path) -> Path | None:
    """Put ``stage`` in the place of ``target``; where the old folder is now, if there was one."""
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
    """Swap two folders with renameat2(RENAME_EXCHANGE), where the kernel and the file system have it."""
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
