"""Label files: one row for each image, as JSON lines or as a table with commas, semicolons or tabs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vedcore.errors import ConfigError
from vedcore.storage.files import parse_json
from vedcore.training.data.labels.collector import Collector
from vedcore.training.data.labels.columns import Columns, find_columns, wrong_columns
from vedcore.training.data.labels.decoding import read_text
from vedcore.training.data.problem import Fault, counted
from vedcore.training.data.sample import is_valid_text

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}

Row = tuple[Any, Any] | str
"""The values of file and text, or the reason why the row cannot be read."""


def read_table(found: Collector, files: Sequence[Path]) -> None:
    """The text of each image that the only label file of a folder names exactly once.

    Raises ConfigError if there are two label files, if the file is not text in its encoding, or if it has no columns for
    file and text.
    """
    if len(files) > 1:
        names = [path.name for path in files]
        raise ConfigError(
            f"{found.folder}: has both {' and '.join(names)}; keep one of them", file=found.folder, found=names
        )
    (path,) = files
    content = read_text(path, found.encoding)
    texts: dict[str, list[str]] = {}
    for number, row in (_json_rows if path.suffix == ".jsonl" else _csv_rows)(path, content):
        reason = row if isinstance(row, str) else _fault_of(found.folder, *row)
        if reason or isinstance(row, str):
            found.add_problem(Fault.bad_row, f"{path}:{number}", reason)
        else:
            file, text = row
            texts.setdefault(Path(file).as_posix(), []).append(text)
    for file, several in texts.items():
        if len(several) > 1:
            shown = ", ".join(repr(text[:40]) for text in several[:3])
            found.add_problem(Fault.two_labels, str(found.folder / file), f"{path.name} has {len(several)}: {shown}")
    for image in found.images:
        if found.relative(image) not in texts:
            found.add_problem(Fault.no_label, str(image), f"not in {path.name}")
    for file, several in texts.items():
        if len(several) == 1:
            _add(found, file, several[0])


def _add(found: Collector, file: str, text: str) -> None:
    if Path(file).is_absolute() or ".." in Path(file).parts:
        found.add_problem(Fault.missing_image, file, f"a file outside of {found.folder} is not read")
    else:
        found.add(found.folder / file, text)


def _fault_of(folder: Path, file: Any, text: Any) -> str:
    """The reason why a row is not a label; an empty string if it is one."""
    for name, value in (("file", file), ("text", text)):
        if not isinstance(value, str):
            found = "none" if value is None else f"{type(value).__name__} {str(value)[:40]!r}"
            return f"expected a {name} that is a string, found {found}"
        if not is_valid_text(value):
            return f"{value[:40]!r} contains half of a character (a lone surrogate)"
    if not file.strip():
        return f"no file, only the text {text[:40]!r}"
    try:
        (folder / file).is_file()
    except (OSError, ValueError) as cause:
        return f"{file[:40]!r} cannot be the name of a file ({getattr(cause, 'strerror', cause)})"
    return ""


# JSON lines.


def _json_rows(path: Path, content: str) -> Iterator[tuple[int, Row]]:
    parsed = [(number, _json_row(line)) for number, line in enumerate(content.split("\n"), 1) if line.strip()]
    rows = [(number, row) for number, row in parsed if isinstance(row, dict)]
    columns = [find_columns(row, f"{path}:{number}") for number, row in rows]
    if rows and not any(columns):
        raise wrong_columns(path, *rows[0])
    of_row = iter(columns)
    for number, row in parsed:
        if isinstance(row, str):
            yield number, row
        elif (names := next(of_row)) is None:
            yield number, f"expected file and text, found the keys {', '.join(map(repr, row))[:120] or 'none'}"
        else:
            yield number, (row[names.file], row[names.text])


def _json_row(line: str) -> dict[str, Any] | str:
    try:
        return parse_json(line.encode(), "the line")
    except ConfigError as error:
        return str(error)


# Tables.


def _csv_rows(path: Path, content: str) -> Iterator[tuple[int, Row]]:
    number, separator, header, columns = _header(path, content)
    file, text = header.index(columns.file), header.index(columns.text)
    for line, fields in _csv_fields(content, separator):
        if line == number:
            continue
        if isinstance(fields, str):
            yield line, fields
        elif len(fields) != len(header):
            found = f"{counted(len(fields), 'field')} where the first line has {len(header)}: {separator.join(fields)[:60]!r}"
            advice = (
                f"; put a text with a {SEPARATORS[separator]} in double quotes" if len(fields) > len(header) else ""
            )
            yield line, f"{found}{advice}"
        else:
            yield line, (fields[file], fields[text])


def _header(path: Path, content: str) -> tuple[int, str, list[str], Columns]:
    """Number, separator, names and columns of the header. The separator is the one that gives a file and a text."""
    shown: tuple[int, list[str]] = (1, [])
    problem = ""
    for separator in SEPARATORS:
        number, names = next(_csv_fields(content, separator), (1, list[str]()))
        if isinstance(names, str):  # quotes that another separator would leave alone
            problem = problem or f"{path}:{number}: {names}"
            continue
        columns = find_columns(names, f"{path}:{number}")
        if columns is not None:
            return number, separator, names, columns
        if len(names) > len(shown[1]):
            shown = number, names
    if problem:
        raise ConfigError(problem, file=path)
    raise wrong_columns(path, *shown, note=" in the first line, separated by comma, semicolon or tab")


def _csv_fields(content: str, separator: str) -> Iterator[tuple[int, list[str] | str]]:
    """The fields of each row that is not empty, or the reason why it cannot be read, with the number of its first line."""
    reader = csv.reader(io.StringIO(content, newline=""), strict=True, delimiter=separator)
    while True:
        number = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as cause:  # the reader continues with the next line
            line = content.split("\n", number)[number - 1][:60]
            yield number, f"{cause}: {line!r}; a quoted text ends with a double quote, and one inside it is doubled"
            continue
        if fields:
            yield number, fields
