"""The log of a run: a JSON object a line, only ever appended to."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vedcore.errors import CheckpointError, SaveError

FILE = "log.jsonl"

_NUMBERS = {"step": ("loss", "lr"), "evaluation": ("cer", "wer"), "skipped": ()}
"""The events, and the numbers of each that a report is made of."""


class Log:
    """The log in the folder of a run, from which what came after ``step`` is cut off: it will come again.

    evaluated: the step of the last evaluation in it when it was opened, or None.
    """

    def __init__(self, run: Path, step: int) -> None:
        self.path = run / FILE
        with self._saving():
            kept = [record for record in read_log(run) if record["step"] <= step]
            aside = self.path.with_name(f".{FILE}.tmp-{os.getpid()}")
            aside.write_bytes(b"".join(map(_line, kept)))
            os.replace(aside, self.path)
        self.evaluated = max((record["step"] for record in kept if record["event"] == "evaluation"), default=None)

    def add(self, *records: Mapping[str, Any]) -> None:
        """Append records; each has an event and a step. Raises SaveError."""
        with self._saving(), self.path.open("ab") as file:
            file.write(b"".join(map(_line, records)))

    @contextmanager
    def _saving(self) -> Iterator[None]:
        try:
            yield
        except OSError as cause:
            raise SaveError(f"{self.path}: not written ({cause}); the checkpoints are as they were") from cause


def read_log(run: Path) -> list[dict[str, Any]]:
    """The records in the folder of a run. A last line that a kill cut short is passed over.

    Raises CheckpointError: the line and the field that is no record's.
    """
    path = run / FILE
    content = path.read_bytes() if path.is_file() else b""
    return [_record(line, f"{path}:{number}") for number, line in enumerate(content.split(b"\n")[:-1], 1)]


def _record(line: bytes, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as cause:
        record, fault = {}, f"not a line of JSON ({' '.join(str(cause).split())[:200]})"
    else:
        fault = _fault(record)
    if fault:
        raise CheckpointError(f"{where}: {fault}; delete that line: the checkpoints do not depend on it")
    return record  # type: ignore[no-any-return]


def _fault(record: Any) -> str:
    """What makes this no record of a run, or nothing."""
    if not isinstance(record, dict) or record.get("event") not in list(_NUMBERS):
        return f"expected an object whose event is one of {', '.join(_NUMBERS)}"
    if type(step := record.get("step")) is not int or not 0 <= step <= sys.maxsize:
        return f"step must be an int of at least 0, got {str(step)[:80]!r}"
    for name in (*_NUMBERS[record["event"]], *(["ctc"] if "ctc" in record else [])):
        value: Any = record.get(name)
        if type(value) not in (int, float) or not abs(value) <= sys.float_info.max:
            return f"{name} must be a finite number, got {str(value)[:80]!r}"
    if record["event"] == "skipped":
        counts, problems = record.get("counts"), record.get("problems")
        if not isinstance(counts, dict) or any(type(count) is not int for count in counts.values()):
            return f"counts must be ints by name, got {str(counts)[:80]}"
        if not isinstance(problems, list) or not all(isinstance(problem, str) for problem in problems):
            return f"problems must be a list of strings, got {str(problems)[:80]}"
    return ""


def _line(record: Mapping[str, Any]) -> bytes:
    # A lone surrogate, which UTF-8 does not have, becomes \ud800, say: in JSON that is its escape.
    return (json.dumps(record, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
