"""The programs that read the pages."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from vedcore.contract.regions import Polygon

ROOT = Path(__file__).parents[2]
RAPIDOCR = "VEDCORE_RAPIDOCR"
"""Names the python of an environment that has rapidocr. Without it, the one that ``make bench-pages`` creates is used."""


@dataclass(frozen=True)
class Output:
    """The text of a page, and for vedcore the polygons of its lines."""

    text: str
    polygons: Sequence[Polygon] = ()


class Engine(Protocol):
    """A program that reads pages."""

    name: str

    def missing(self) -> str:
        """How to install the program; empty if it is installed."""

    def read(self, paths: Sequence[Path]) -> Iterator[Output]:
        """The outputs of the pages, in order."""


class Vedcore:
    """vedcore with the line reader that it ships."""

    name = "vedcore"

    def missing(self) -> str:
        """The plugins are packages of this repository."""
        modules = [name for name in ("vedcore_plugin_pages", "vedcore_plugin_linereader") if find_spec(name) is None]
        return " ".join(["pip install", *("plugins/" + name.replace("_", "-") for name in modules)]) if modules else ""

    @cached_property
    def reader(self) -> Any:
        """The reader, loaded once."""
        from vedcore import Reader

        return Reader.load("line-reader")

    def read(self, paths: Sequence[Path]) -> Iterator[Output]:
        """One page after the other."""
        for path in paths:
            reading = self.reader.read([path], layout="page")[0]
            yield Output(reading.text, [line.polygon for line in reading.lines])


class Tesseract:
    """The command tesseract with its defaults: English, automatic page segmentation. The text does not depend on threads."""

    name = "Tesseract"

    def __init__(self, threads: int = 1) -> None:
        self._environment = {**os.environ, "OMP_THREAD_LIMIT": str(threads)}

    def missing(self) -> str:
        """It is a Debian package."""
        return "" if shutil.which("tesseract") else "apt-get install tesseract-ocr"

    def read(self, paths: Sequence[Path]) -> Iterator[Output]:
        """One process for each page."""
        for path in paths:
            command = ["tesseract", str(path), "stdout", "-l", "eng"]
            done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=True)
            yield Output(done.stdout)


class Rapid:
    """RapidOCR with its defaults, in a process of another environment."""

    name = "RapidOCR"

    def __init__(self) -> None:
        self.python = os.environ.get(RAPIDOCR) or str(ROOT / ".venv" / "rapidocr" / "bin" / "python")

    def missing(self) -> str:
        """It is in an environment of its own, because it needs other packages than vedcore."""
        check = [self.python, "-c", "import rapidocr"]
        if Path(self.python).is_file() and not subprocess.run(check, capture_output=True, check=False).returncode:
            return ""
        return f"make .venv/rapidocr/.installed, or {RAPIDOCR}=PYTHON of an environment with rapidocr and onnxruntime"

    def read(self, paths: Sequence[Path]) -> Iterator[Output]:
        """One process for all pages."""
        command = [self.python, str(Path(__file__).with_name("rapid.py")), *map(str, paths)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            for line in process.stdout or ():
                yield Output(json.loads(line))
        if process.returncode:
            raise SystemExit(f"{' '.join(command[:2])} ended with {process.returncode}; run it to see why")


ENGINES: tuple[Engine, ...] = (Vedcore(), Tesseract(), Rapid())
