"""JSON files, which are read strictly, and the names of files in a folder. Folders are written with ``staging.staged``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from vedcore.errors import CheckpointError, CheckpointNotFound, ConfigError, foreign
from vedcore.storage.staging import staged

__all__ = ["MAX_JSON_BYTES", "MAX_JSON_DEPTH", "inside", "parse_json", "read_json", "staged", "write_json"]

MAX_JSON_BYTES = 64 * 1024 * 1024
MAX_JSON_DEPTH = 64


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Stricter than ``json.load``: it refuses duplicate keys, NaN, Infinity, more than 64 levels of nesting and any other value
    than an object at the top, because two readers of such a file could see two different things.

    Raises CheckpointNotFound if there is no such file, CheckpointError if it cannot be read, and ConfigError if its content
    is refused.
    """
    # A name that is too long raises an OSError.
    with foreign(CheckpointNotFound, f"{str(path)[:200]}: no such file", file=path):
        is_file = path.is_file()
    if not is_file:
        raise CheckpointNotFound(f"{path}: no such file", file=path)
    size = path.stat().st_size
    if size > MAX_JSON_BYTES:
        raise ConfigError(
            f"{path}: {size} bytes, more than the {MAX_JSON_BYTES} allowed for JSON",
            file=path,
            expected=f"at most {MAX_JSON_BYTES} bytes",
            found=size,
        )
    with foreign(CheckpointError, str(path), file=path):
        data = path.read_bytes()
    return parse_json(data, str(path), file=path)


def parse_json(data: bytes, where: str, *, file: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """The object in ``data``, read as strictly as by ``read_json``. Raises ConfigError, whose message starts with ``where``.

    file: the ``file`` of an error.
    """

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in items:
            if name in found:
                raise ConfigError(f"{where}: key {name!r} appears twice", file=file, field=name)
            found[name] = value
        return found

    def constant(text: str) -> Any:
        raise ConfigError(f"{where}: {text} is not JSON", file=file, found=text)

    def number(text: str) -> float:
        value = float(text)
        if value in (float("inf"), float("-inf")):
            raise ConfigError(f"{where}: number {text} is too large", file=file, found=text)
        return value

    try:
        found = json.loads(data.decode("utf-8"), object_pairs_hook=pairs, parse_constant=constant, parse_float=number)
    except ConfigError:
        raise
    except (ValueError, RecursionError) as cause:
        raise ConfigError(f"{where}: not valid JSON ({' '.join(str(cause).split())[:200]})", file=file) from cause
    if not isinstance(found, dict):
        kind = type(found).__name__
        raise ConfigError(
            f"{where}: expected a JSON object, found {kind}", file=file, expected="a JSON object", found=kind
        )
    if _depth(found) > MAX_JSON_DEPTH:
        raise ConfigError(
            f"{where}: nested deeper than {MAX_JSON_DEPTH} levels",
            file=file,
            expected=f"at most {MAX_JSON_DEPTH} levels",
        )
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
    """Write ``value`` in the layout of transformers: ASCII, two spaces, sorted keys, a final newline.

    Raises ConfigError if JSON cannot represent it.
    """
    with foreign(ConfigError, f"{path}: not written as JSON", file=path):
        text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def inside(folder: Path, name: str) -> Path:
    """The path of the file ``name`` in ``folder``; it need not exist.

    Raises CheckpointError for a name that contains a path, because a checkpoint reads only its own folder, and for a path
    that is not a regular file.
    """
    if not isinstance(name, str) or name in ("", ".", "..") or any(mark in name for mark in "/\\\0:"):
        raise CheckpointError(
            f"{folder}: file name {name!r} leaves the folder; only a bare file name is read",
            file=folder,
            expected="a bare file name",
            found=name,
        )
    path = folder / name
    with foreign(CheckpointError, f"{folder}: file name {name[:80]!r}", file=folder):  # the name may be too long
        irregular = path.exists() and not path.is_file()
    if irregular:
        raise CheckpointError(f"{path}: not a regular file", file=path, expected="a regular file")
    return path
