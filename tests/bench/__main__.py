"""Measure vedcore and transformers in one run: in turn, on the same checkpoint, with the same tokens.

    python -m tests.bench                               generate, train, pairs and start
    python -m tests.bench generate|train|pairs|start    one of them
    python -m tests.bench full                          generation at twelve full sizes, about twelve minutes
    python -m tests.bench compare BEFORE.json AFTER.json    what became slower or larger from one state to the next

With --json FILE the results are added to FILE as one more run. To compare two states of the code, measure each of them three
times with the same FILE on a machine that runs nothing else, then use compare. It exits with 1 if a ratio fell by more
than 10 % or is missing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench.checkpoints import Checkpoints
from tests.bench.comparison import compare
from tests.bench.generation import GENERATE, GENERATE_FULL
from tests.bench.options import Options
from tests.bench.pairs import PAIRS
from tests.bench.report import block, heading, legend
from tests.bench.results import Result, add_run
from tests.bench.startup import START
from tests.bench.training import TRAIN

PARTS = {"generate": GENERATE, "train": TRAIN, "pairs": PAIRS, "start": START, "full": GENERATE_FULL}
DEFAULT = ("generate", "train", "pairs", "start")


def main() -> None:
    """Run what the command line asks for."""
    arguments = parse(sys.argv[1:])
    if arguments.part == "compare":
        sys.exit(0 if compare(*arguments.files) else 1)
    results: list[Result] = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            options = Options(Checkpoints(Path(folder)), arguments.only, arguments.repeats)
            for result in measure(DEFAULT if arguments.part == "all" else (arguments.part,), options):
                results.append(result)  # one at a time: what was measured before an error is kept
    finally:
        if arguments.json and results:
            print(f"\n{arguments.json} holds {add_run(arguments.json, results)} runs")
    if not results:
        sys.exit(f"no case of {arguments.part} has a name that contains {arguments.only!r}")


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The arguments, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=("all", *PARTS, "compare"), default="all")
    parser.add_argument("files", nargs="*", type=Path, help="for compare: two files that --json wrote")
    parser.add_argument("--only", default="", metavar="NAME", help="measure the cases whose name contains NAME")
    parser.add_argument(
        "--repeats", type=int, metavar="N", help="rounds for each case, instead of a choice by its time"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="add the results to FILE as one more run")
    arguments = parser.parse_intermixed_args(words)
    if len(arguments.files) != (2 if arguments.part == "compare" else 0):
        parser.error("compare needs two files, BEFORE.json and AFTER.json; the other parts need none")
    if arguments.repeats is not None and arguments.repeats < 1:
        parser.error(f"--repeats needs at least 1, not {arguments.repeats}")
    return arguments


def measure(names: Sequence[str], options: Options) -> Iterator[Result]:
    """Measure the parts one after the other and print each result when it is there."""
    print(legend())
    for name in names:
        part = PARTS[name]
        print(heading(part), flush=True)
        for result in part.run(options):
            print(block(result, part.measures), flush=True)
            yield result


if __name__ == "__main__":
    main()
