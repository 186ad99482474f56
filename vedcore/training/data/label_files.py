"""The two label files that a folder of images can have: labels.jsonl and labels.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from vedcore.errors import ConfigError
from vedcore.storage.files import parse_json
from vedcore.training.data.problem import counted

LABEL_FILES = ("labels.jsonl", "labels.csv")
COLUMNS = ("file", "text")

Row = dict[str, Any] | str
"""The fields of a row by column, or the reason why the row cannot be read."""


def read_rows(path: Path) -> Iterable[tuple[int, Row]]:
    """The rows of the label file ``path``, each with its line number (from 1).

    Raises ConfigError if the file is not text in UTF-8, if no row has the columns ``file`` and ``text``, or if the header
    of a CSV file has one of them twice.
    """
    return _jsonl_rows(path) if path.suffix == ".jsonl" else _csv_rows(path)


def read_text(path: Path) -> str:
    """The text of a label file. Raises ConfigError if it is not in UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as cause:
        raise ConfigError(f"{path}: labels must be text in UTF-8 ({cause})", file=path, expected="UTF-8") from cause


def _jsonl_rows(path: Path) -> list[tuple[int, Row]]:
    lines = enumerate(read_text(path).split("\n"), 1)
    found = [(number, _jsonl_row(line)) for number, line in lines if line.strip()]
    rows = [(number, row) for number, row in found if isinstance(row, dict)]
    if rows and not any(row.keys() >= set(COLUMNS) for _, row in rows):
        raise _wrong_columns(path, *rows[0])
    return found


def _jsonl_row(line: str) -> Row:
    try:
        return parse_json(line.encode(), "the line")
    except ConfigError as error:
        return str(error)


def _csv_rows(path: Path) -> Iterator[tuple[int, Row]]:
    rows = _csv_fields(read_text(path))
    number, columns = next(rows, (1, []))
    if isinstance(columns, str):
        raise ConfigError(f"{path}:{number}: {columns}", file=path)
    if columns and not set(COLUMNS) <= set(columns):
        raise _wrong_columns(path, number, columns)
    if twice := [name for name in columns if name and columns.count(name) > 1]:
        raise ConfigError(
            f"{path}:{number}: column {twice[0]!r} appears twice; keep one of them", file=path, field=twice[0]
        )
    for number, fields in rows:
        if isinstance(fields, str):
            yield number, fields
        elif len(fields) != len(columns):
            counts = f"{counted(len(fields), 'field')} where the first line has {len(columns)}"
            yield number, f"{counts}; put a text with a comma in double quotes"
        else:
            yield number, dict(zip(columns, fields, strict=True))


def _csv_fields(content: str) -> Iterator[tuple[int, list[str] | str]]:
    """The fields of each row that is not empty, or the reason why it cannot be read, with the number of its first line."""
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    while True:
        number = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as cause:  # the reader continues with the next line
            yield number, f"{cause}; a quoted text ends with a double quote, and a double quote inside it is doubled"
            continue
        if fields:
            yield number, fields


def _wrong_columns(path: Path, number: int, names: Iterable[str]) -> ConfigError:
    found = list(names)
    listed = ", ".join(map(repr, found)) or "none"
    return ConfigError(
        f"{path}:{number}: expected the columns 'file' and 'text' (a CSV file separates them by commas), found {listed}",
        file=path,
        expected=COLUMNS,
        found=found,
    )
