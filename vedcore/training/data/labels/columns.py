"""The columns of a table of labels: ``file`` and ``text``, under the names that other tools give them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from vedcore.errors import ConfigError

FILE_NAMES = ("file", "filename", "file_name", "image", "path", "image_path", "name")
TEXT_NAMES = ("text", "label", "transcription", "transcript", "ground_truth", "gt", "words", "sentence")


class Columns(NamedTuple):
    """The names of the two columns as the file writes them."""

    file: str
    text: str


def find_columns(names: Iterable[str], where: str) -> Columns | None:
    """The columns of file and text among ``names``, in any case; None if one of them is missing.

    ``file`` and ``text`` win over their synonyms. where: path and line number. Raises ConfigError if two synonyms could be
    meant or a column is there twice.
    """
    present = [name for name in names if name.strip()]
    file, text = (_one_of(present, known, where) for known in (FILE_NAMES, TEXT_NAMES))
    return None if file is None or text is None else Columns(file, text)


def wrong_columns(path: Path, number: int, names: Iterable[str], note: str = "") -> ConfigError:
    """The error for a table that has other columns."""
    found = list(names)
    listed = ", ".join(map(repr, found)) or "none"
    return ConfigError(
        f"{path}:{number}: expected the columns 'file' and 'text'{note}, found {listed[:300]}; other names that are read: "
        f"{', '.join(FILE_NAMES[1:])}; {', '.join(TEXT_NAMES[1:])}",
        file=path,
        expected=("file", "text"),
        found=found,
    )


def _one_of(names: list[str], known: tuple[str, ...], where: str) -> str | None:
    meant = {name: name.strip().casefold() for name in names}
    by_rank = [name for name in names if meant[name] == known[0]] or [name for name in names if meant[name] in known]
    if len(by_rank) > 1:
        same = len({meant[name] for name in by_rank}) == 1
        listed = " and ".join(map(repr, dict.fromkeys(by_rank)))
        problem = f"column {by_rank[0]!r} appears twice" if same else f"columns {listed} could both be the {known[0]}"
        advice = "keep one of them" if same else f"keep one of them, or call it {known[0]!r}"
        raise ConfigError(
            f"{where}: {problem}; {advice}", file=where.rpartition(":")[0], field=by_rank[0], found=by_rank
        )
    return by_rank[0] if by_rank else None
