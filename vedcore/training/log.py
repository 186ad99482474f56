"""The log of a run: one JSON object per line, in order of the steps."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vedcore.errors import CheckpointError, SaveError

LOG_FILE = "log.jsonl"

_NUMBERS = {"step": ("loss", "lr"), "evaluation": ("cer", "wer"), "skipped": ()}
"""The events, and the numbers of each that the report shows."""

_OPTIONAL_NUMBERS = ("ctc", "validation_loss", "kept_cer")
"""Numbers that the report shows if a record has them."""


class Log:
    """The log in the folder of a run. Opening it removes the records after ``step``, because the run repeats those steps.

    evaluated_step: the step of the last evaluation in the log when it was opened, or None.
    """

    def __init__(self, run: Path, step: int) -> None:
        self.path = run / LOG_FILE
        with self._errors_as_save_error():
            kept = [record for record in read_log(run) if record["step"] <= step]
            aside = self.path.with_name(f".{LOG_FILE}.tmp-{os.getpid()}")
            aside.write_bytes(b"".join(map(_line, kept)))
            os.replace(aside, self.path)
        self.evaluated_step = max((record["step"] for record in kept if record["event"] == "evaluation"), default=None)

    def add(self, *records: Mapping[str, Any]) -> None:
        """Append records, each with an event and a step. Raises SaveError if they cannot be written."""
        with self._errors_as_save_error(), self.path.open("ab") as file:
            file.write(b"".join(map(_line, records)))

    @contextmanager
    def _errors_as_save_error(self) -> Iterator[None]:
        try:
            yield
        except OSError as cause:
            raise SaveError(
                f"{self.path}: not written ({cause}); the checkpoints are unchanged", file=self.path
            ) from cause


def read_log(run: Path) -> list[dict[str, Any]]:
    """The records in the folder of a run. Ignores an incomplete last line, which a killed run can leave.

    Raises CheckpointError that names the line, and the field that no run can have written.
    """
    path = run / LOG_FILE
    content = path.read_bytes() if path.is_file() else b""
    return [_record(line, path, number) for number, line in enumerate(content.split(b"\n")[:-1], 1)]


def _record(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        record = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as cause:
        record, field, fault = {}, None, f"not a line of JSON ({' '.join(str(cause).split())[:200]})"
    else:
        field, fault = _fault(record)
    if fault:
        raise CheckpointError(
            f"{path}:{number}: {fault}; delete that line: the checkpoints do not depend on it", file=path, field=field
        )
    return record  # type: ignore[no-any-return]


def _fault(record: Any) -> tuple[str | None, str]:
    """The field that no run can have written, and why; an empty reason if there is none."""
    if not isinstance(record, dict) or record.get("event") not in list(_NUMBERS):
        return "event", f"expected an object whose event is one of {', '.join(_NUMBERS)}"
    if type(step := record.get("step")) is not int or not 0 <= step <= sys.maxsize:
        return "step", f"step must be an int of at least 0, got {str(step)[:80]!r}"
    for name in (*_NUMBERS[record["event"]], *(name for name in _OPTIONAL_NUMBERS if name in record)):
        value: Any = record.get(name)
        if type(value) not in (int, float) or not abs(value) <= sys.float_info.max:
            return name, f"{name} must be a finite number, got {str(value)[:80]!r}"
    if record["event"] == "skipped":
        counts, problems = record.get("counts"), record.get("problems")
        if not isinstance(counts, dict) or any(type(count) is not int for count in counts.values()):
            return "counts", f"counts must be ints by name, got {str(counts)[:80]}"
        if not isinstance(problems, list) or not all(isinstance(problem, str) for problem in problems):
            return "problems", f"problems must be a list of strings, got {str(problems)[:80]}"
    return None, ""


def _line(record: Mapping[str, Any]) -> bytes:
    # UTF-8 cannot encode a lone surrogate. backslashreplace writes it as \ud800, for example, which is its escape in JSON.
    return (json.dumps(record, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
