"""The start of a process: ``vedcore --help`` against the import of transformers' class."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator
from functools import partial

from tests.bench.models import TRANSFORMERS, VEDCORE
from tests.bench.options import Options, Part
from tests.bench.results import Result
from tests.bench.timing import in_turn

CASE = "vedcore --help, import of VisionEncoderDecoderModel"
REPEATS = 5
COMMANDS = {
    TRANSFORMERS: [sys.executable, "-c", "from transformers import VisionEncoderDecoderModel"],
    VEDCORE: [sys.executable, "-m", "vedcore", "--help"],
}


def run(options: Options) -> Iterator[Result]:
    """Measure the two commands in turn."""
    if options.only in CASE:
        calls = {
            library: partial(subprocess.run, command, capture_output=True, check=True)
            for library, command in COMMANDS.items()
        }
        samples = in_turn(calls, options.repeats or REPEATS)
        values = {library: {"start": statistics.median(times)} for library, times in samples.items()}
        yield Result("start", CASE, values, {"start": 10.0})


START = Part("Start of a process", ("start",), run)
