"""The log of a run: a JSON object a line, only ever appended to."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vedcore.errors import SaveError

FILE = "log.jsonl"


class Log:
    """The log in the folder of a run, from which what came after ``step`` is cut off: it will come again."""

    def __init__(self, run: Path, step: int) -> None:
        self.path = run / FILE
        with self._saving():
            kept = [record for record in read_log(run) if record["step"] <= step]
            aside = self.path.with_name(f".{FILE}.tmp-{os.getpid()}")
            aside.write_text("".join(map(_line, kept)), encoding="utf-8")
            os.replace(aside, self.path)

    def add(self, *records: Mapping[str, Any]) -> None:
        """Append records; each has an event and a step. Raises SaveError."""
        with self._saving(), self.path.open("a", encoding="utf-8") as file:
            file.write("".join(map(_line, records)))

    @contextmanager
    def _saving(self) -> Iterator[None]:
        try:
            yield
        except OSError as cause:
            raise SaveError(f"{self.path}: not written ({cause}); the checkpoints are as they were") from cause


def read_log(run: Path) -> list[dict[str, Any]]:
    """The records in the folder of a run. A last line that a kill cut short is passed over."""
    path = run / FILE
    content = path.read_text(encoding="utf-8") if path.is_file() else ""
    return [json.loads(line) for line in content.split("\n")[:-1]]


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False) + "\n"
