"""How well a reader reads: character and word error rates, exact lines, and the calibration of its confidence."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import jiwer
import numpy as np

from vedcore.errors import ImageError, TrainingError
from vedcore.reader import Reader, Reading
from vedcore.training.data.problem import Fault, Problem
from vedcore.training.data.sample import Dataset

BINS = 10


@dataclass(frozen=True, slots=True)
class ReadLine:
    """A line of an evaluation. text: its label. read: the reading.

    errors: the number of characters to substitute, insert or delete to turn ``read`` into ``text``.
    """

    source: str
    text: str
    read: str
    confidence: float
    stop_reason: str
    errors: int


@dataclass(frozen=True, slots=True)
class ConfidenceBin:
    """The lines with a confidence from ``low`` to ``high``: their number, the number of exact ones, the mean confidence."""

    low: float
    high: float
    lines: int
    exact: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Score:
    """The result of an evaluation.

    lines, exact: the number of lines, and of lines without an error.
    cer, wer: edits per character and per word, over all lines together.
    calibration_error: the mean distance between confidence and share of exact lines in a bin, weighted by its lines.
    lines_per_second: the speed of reading, including opening the images.
    bins: the lines by confidence.
    worst: the lines with the most errors per character, the worst first.
    problems: samples that could not be read or have no label; no other number includes them.
    """

    lines: int
    exact: int
    cer: float
    wer: float
    calibration_error: float
    lines_per_second: float
    bins: tuple[ConfidenceBin, ...] = ()
    worst: tuple[ReadLine, ...] = ()
    problems: tuple[Problem, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """The score as nested dicts and lists, as JSON holds it."""
        return asdict(self)


def evaluate(
    reader: Reader, data: Dataset, *, beams: int = 1, batch_size: int = 16, cut: bool = True, worst: int = 20
) -> Score:
    """Read every sample of ``data`` and compare the readings with the labels.

    beams: 1 is greedy decoding. cut: cut long lines into pieces, as ``reader.read`` does. worst: how many of the worst lines
    the score keeps. Raises TrainingError if no sample can be compared.
    """
    problems: list[Problem] = list(getattr(data, "problems", ()))
    samples = [data[index] for index in range(len(data))]
    fields: dict[str, Any] = {"num_beams": beams} if beams > 1 else {}
    started = time.perf_counter()
    layout = "line" if cut else "whole"  # never a page, whatever the default of the reader is
    results = list(reader.each((s.image for s in samples), batch_size=batch_size, layout=layout, **fields))
    seconds = time.perf_counter() - started
    texts: list[tuple[str, str]] = []
    readings: list[Reading] = []
    for sample, result in zip(samples, results, strict=True):
        if isinstance(result, ImageError):
            problems.append(Problem(Fault.unreadable_image, sample.source, str(result)))
        elif not sample.text.strip():
            problems.append(Problem(Fault.empty_label, sample.source, "no text to compare with"))
        else:
            texts.append((sample.source, sample.text))
            readings.append(result)
    if not readings:
        raise TrainingError(
            f"no line of {len(samples)} can be compared: {'; '.join(map(str, problems[:3])) or 'the data set is empty'}",
            found=problems,
        )
    return _score(texts, readings, seconds, problems, worst)


def differences(text: str, read: str) -> list[tuple[str, str]]:
    """The parts of a label and of its reading, side by side: equal ones, and pairs of which one may be empty.

    Their lengths add up to the number of errors as ``ReadLine.errors`` counts them, without the spaces at both ends.
    """
    text, read = text.strip(), read.strip()
    (chunks,) = jiwer.process_characters(text, read).alignments
    return [
        (text[chunk.ref_start_idx : chunk.ref_end_idx], read[chunk.hyp_start_idx : chunk.hyp_end_idx])
        for chunk in chunks
    ]


def _score(
    texts: Sequence[tuple[str, str]], readings: Sequence[Reading], seconds: float, problems: list[Problem], worst: int
) -> Score:
    expected, found = [text for _, text in texts], [reading.text for reading in readings]
    characters = jiwer.process_characters(expected, found)
    lines = [
        ReadLine(source, text, reading.text, reading.confidence, reading.stop_reason, _edits(chunks))
        for (source, text), reading, chunks in zip(texts, readings, characters.alignments, strict=True)
    ]
    bins = _bins(lines)
    bad = sorted((line for line in lines if line.errors), key=lambda line: -line.errors / len(line.text))
    return Score(
        lines=len(lines),
        exact=sum(_is_exact(line) for line in lines),
        cer=float(characters.cer),
        wer=float(jiwer.wer(expected, found)),
        calibration_error=sum(abs(b.exact - b.lines * b.confidence) for b in bins) / len(lines),
        lines_per_second=len(lines) / seconds,
        bins=bins,
        worst=tuple(bad[:worst]),
        problems=tuple(problems),
    )


def _edits(chunks: Sequence[Any]) -> int:
    return sum(
        max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
        for chunk in chunks
        if chunk.type != "equal"
    )


def _is_exact(line: ReadLine) -> bool:
    return line.read == line.text


def _bins(lines: Sequence[ReadLine]) -> tuple[ConfidenceBin, ...]:
    """The bins that are not empty, the lowest confidence first."""
    indices = np.minimum((np.array([line.confidence for line in lines]) * BINS).astype(int), BINS - 1)
    bins = []
    for index in range(BINS):
        members = [line for line, at in zip(lines, indices, strict=True) if at == index]
        if members:
            mean = sum(line.confidence for line in members) / len(members)
            exact = sum(map(_is_exact, members))
            bins.append(ConfidenceBin(index / BINS, (index + 1) / BINS, len(members), exact, mean))
    return tuple(bins)
