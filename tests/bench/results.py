"""What a case gives, and files of results."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.bench.models import TRANSFORMERS, VEDCORE

MEMORY = "memory"


@dataclass(frozen=True)
class Result:
    """The numbers of one case: for each library, milliseconds by measure, and peak memory in MB under ``memory``.

    wanted: the smallest ratio that is good enough, by measure.
    """

    part: str
    case: str
    values: Mapping[str, Mapping[str, float]]
    wanted: Mapping[str, float] = field(default_factory=dict)

    def ratios(self, library: str = VEDCORE) -> dict[str, float]:
        """transformers' number divided by the library's number, by measure. Above 1, the library is better."""
        return {measure: self.values[TRANSFORMERS][measure] / value for measure, value in self.values[library].items()}

    def missed(self) -> list[str]:
        """The measures whose ratio is smaller than wanted."""
        ratios = self.ratios()
        return [measure for measure, least in self.wanted.items() if ratios[measure] < least]


def add_run(file: Path, results: Sequence[Result]) -> int:
    """Add the results as one run to a JSON file, which is made if there is none. Returns the number of its runs."""
    runs = _runs(file) if file.exists() else []
    machine = {"processor": _processor(), **{name: version(name) for name in ("torch", "transformers")}}
    cases = [{"part": r.part, "case": r.case, "values": {k: dict(v) for k, v in r.values.items()}} for r in results]
    runs.append({"machine": machine, "results": cases})
    file.write_text(json.dumps({"runs": runs}, indent=1) + "\n")
    return len(runs)


def read_runs(file: Path) -> list[list[Result]]:
    """The results of each run in a file. Exits with a message if the file holds none."""
    if not file.exists():
        sys.exit(f"there is no file {file}")
    runs = [[Result(**case) for case in run["results"]] for run in _runs(file)]
    if not runs:
        sys.exit(f"{file} holds no runs")
    return runs


def _runs(file: Path) -> list[dict[str, Any]]:
    try:
        runs: list[dict[str, Any]] = json.loads(file.read_text())["runs"]
    except (ValueError, KeyError, TypeError):
        sys.exit(f"{file} is not a file that --json wrote")
    return runs


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
