"""Measure how a line reader reads rendered lines of several kinds, next to Tesseract, and what its probabilities are worth.

    python -m tests.bench_lines                        the line reader that vedcore ships
    python -m tests.bench_lines --model FOLDER         another checkpoint
    python -m tests.bench_lines --only cards --worst 5 one kind, with its worst lines
    python -m tests.bench_lines --save FOLDER          only write lines of "print", "digits" and "scan-like" for
                                                       vedcore eval --calibrate; others than the ones that are read

It needs the fonts and the corpus of examples/render_lines (its README says how to get them), and four families of fonts that
no training uses.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rapidfuzz.distance import Levenshtein

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

from tests.bench_lines.kinds import CALIBRATED, FITTED, JUDGED, KINDS, Drawn, save
from vedcore import Reader

GOALS = {"phone numbers": 39 / 40, "card groups": 39 / 40, "thousands": 39 / 40, "addresses": 0.95}
"""The share of lines without an error that is wanted."""
LANGUAGES = 1.0
"""The error rate in percent that is wanted of "languages"."""
SURE, WRONG, ABOVE = 0.9, 0.01, 0.7
"""Of the lines with a probability above 0.9 at most 1 % are wrong; at least 70 % of the correct lines are above it."""


def main() -> None:
    """Run what the command line asks for."""
    arguments = parse(sys.argv[1:])
    if arguments.save:
        for name, draw in CALIBRATED.items():
            save(arguments.save / name, draw(arguments.lines, FITTED))
        return
    reader = Reader.load(arguments.model)
    missed = [*errors(reader, arguments), *probabilities(reader, arguments)]
    print(f"\nwhat is wanted: {'; '.join(missed) or 'yes'}")


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="line-reader", help="a folder, or a checkpoint that a plugin ships")
    parser.add_argument("--only", default="", metavar="KIND", help="the kinds whose name contains KIND")
    parser.add_argument("--worst", type=int, default=0, metavar="N", help="also print the N worst lines of each kind")
    parser.add_argument("--lines", type=int, default=1000, metavar="N", help="lines of each kind with probabilities")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="write lines to calibrate with, and read nothing")
    parser.add_argument("--no-tesseract", action="store_true", help="do not read with Tesseract")
    return parser.parse_args(words)


def errors(reader: Reader, arguments: argparse.Namespace) -> list[str]:
    """Print the error rates of each kind. Returns what is missed."""
    missed = []
    print(f"{'kind':16}{'lines':>7}{'exact':>7}{'error rate, %':>16}{'Tesseract: exact':>19}{'error rate, %':>16}")
    for name, kind in KINDS.items():
        if arguments.only not in name:
            continue
        lines = list(kind())
        texts = [reading.text for reading in reader.read([line.image for line in lines])]
        exact, rate = score(lines, texts)
        row = f"{name:16}{len(lines):>7}{exact:>7}{rate:>16.2f}"
        if shutil.which("tesseract") and not arguments.no_tesseract:
            exact_there, rate_there = score(lines, tesseract(lines))
            row += f"{exact_there:>19}{rate_there:>16.2f}"
        print(row, flush=True)
        show_worst(lines, texts, arguments.worst)
        if name in GOALS and exact < GOALS[name] * len(lines):
            missed.append(f"{name}: {exact} of {len(lines)} are right")
        if name == "languages" and rate > LANGUAGES:
            missed.append(f"{name}: {rate:.2f} %")
    return missed


def probabilities(reader: Reader, arguments: argparse.Namespace) -> list[str]:
    """Print what the probabilities of each kind are worth. Returns what is missed."""
    missed = []
    print(f"\n{'kind':16}{'lines':>7}{'exact':>7}{'above 0.9':>11}{'wrong there':>13}{'share of the exact':>20}")
    for name, kind in CALIBRATED.items():
        if arguments.only not in name:
            continue
        lines = list(kind(arguments.lines, JUDGED))
        readings = reader.read([line.image for line in lines])
        right = [reading.text == line.text for line, reading in zip(lines, readings, strict=True)]
        sure = [(reading.probability or 0.0) > SURE for reading in readings]
        wrong = sum(one and not good for one, good in zip(sure, right, strict=True))
        share = (sum(sure) - wrong) / max(sum(right), 1)
        print(f"{name:16}{len(lines):>7}{sum(right):>7}{sum(sure):>11}{wrong:>13}{share:>20.3f}", flush=True)
        show_worst(lines, [reading.text for reading in readings], arguments.worst)
        if wrong > WRONG * sum(sure) or share < ABOVE:
            missed.append(f"{name}: {wrong} of {sum(sure)} above {SURE} are wrong, {share:.3f} of the exact are above")
    return missed


def score(lines: Sequence[Drawn], texts: Sequence[str]) -> tuple[int, float]:
    """The number of lines without an error, and the error rate in percent."""
    pairs = list(zip(lines, texts, strict=True))
    edits = sum(Levenshtein.distance(line.text, text) for line, text in pairs)
    return sum(line.text == text for line, text in pairs), 100 * edits / sum(len(line.text) for line in lines)


def show_worst(lines: Sequence[Drawn], texts: Sequence[str], count: int) -> None:
    """Print the lines with the most errors."""
    pairs = [(line.text, text) for line, text in zip(lines, texts, strict=True) if line.text != text]
    for text, found in sorted(pairs, key=lambda pair: -Levenshtein.distance(*pair))[:count]:
        print(f"    {text}\n    {found}")


def tesseract(lines: Sequence[Drawn]) -> list[str]:
    """What Tesseract reads, with its defaults for a line."""
    texts = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "line.png"
        for line in lines:
            line.image.save(path)
            command = ["tesseract", str(path), "-", "--psm", "7"]
            output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
            texts.append(" ".join(output.split()))
    return texts


if __name__ == "__main__":
    main()
