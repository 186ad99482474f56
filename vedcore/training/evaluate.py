"""How well a reader reads: error rates of characters and words, whole lines, and whether its confidence can be believed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import jiwer
import numpy as np

from vedcore.errors import ImageError, TrainingError
from vedcore.reader import Reader, Reading
from vedcore.training.data import Dataset, Fault, Problem

BINS = 10


@dataclass(frozen=True, slots=True)
class Line:
    """A line that was read. errors: characters to change, insert or delete to make ``text`` of ``read``."""

    source: str
    text: str
    read: str
    confidence: float
    stop_reason: str
    errors: int


@dataclass(frozen=True, slots=True)
class Bin:
    """The lines with a confidence from ``low`` to ``high``: how many, how many exact, and their mean confidence."""

    low: float
    high: float
    lines: int
    exact: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Score:
    """lines, exact: numbers of lines. cer, wer: edits over characters, over words, of all lines together.

    bins: the lines by confidence. calibration_error: the mean distance between the confidence and the share of exact lines in
    a bin, weighted by its lines. worst: the lines with the most errors for their length, the worst first. problems: what
    could not be read or has no label, which is in no other number. lines_per_second: all of the reading, images included.
    """

    lines: int
    exact: int
    cer: float
    wer: float
    calibration_error: float
    lines_per_second: float
    bins: tuple[Bin, ...] = ()
    worst: tuple[Line, ...] = ()
    problems: tuple[Problem, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """The score as JSON."""
        return asdict(self)


def evaluate(
    reader: Reader, data: Dataset, *, beams: int = 1, batch_size: int = 16, cut: bool = True, worst: int = 20
) -> Score:
    """Read all of ``data`` and compare. Raises TrainingError where nothing of it can be read."""
    problems: list[Problem] = list(getattr(data, "problems", ()))
    samples = [data[index] for index in range(len(data))]
    fields = {"num_beams": beams} if beams > 1 else {}
    started = time.perf_counter()
    results = list(reader.each((s.image for s in samples), batch_size=batch_size, cut=cut, **fields))
    seconds = time.perf_counter() - started
    texts: list[tuple[str, str]] = []
    readings: list[Reading] = []
    for sample, result in zip(samples, results, strict=True):
        if isinstance(result, ImageError):
            problems.append(Problem(Fault.unreadable_image, sample.source, str(result)))
        elif not sample.text.strip():
            problems.append(Problem(Fault.empty_label, sample.source, "nothing to compare with"))
        else:
            texts.append((sample.source, sample.text))
            readings.append(result)
    if not readings:
        raise TrainingError(
            f"no line of {len(samples)} can be compared: {'; '.join(map(str, problems[:3])) or 'no data'}"
        )
    return _score(texts, readings, seconds, problems, worst)


def _score(
    texts: Sequence[tuple[str, str]], readings: Sequence[Reading], seconds: float, problems: list[Problem], worst: int
) -> Score:
    wanted, found = [text for _, text in texts], [reading.text for reading in readings]
    characters = jiwer.process_characters(wanted, found)
    lines = [
        Line(source, text, reading.text, reading.confidence, reading.stop_reason, _edits(chunks))
        for (source, text), reading, chunks in zip(texts, readings, characters.alignments, strict=True)
    ]
    bins = _bins(lines)
    bad = sorted((line for line in lines if line.errors), key=lambda line: -line.errors / len(line.text))
    return Score(
        lines=len(lines),
        exact=sum(_is_exact(line) for line in lines),
        cer=float(characters.cer),
        wer=float(jiwer.wer(wanted, found)),
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


def _is_exact(line: Line) -> bool:
    return line.read == line.text


def _bins(lines: Sequence[Line]) -> tuple[Bin, ...]:
    """The bins that hold lines, the lowest first."""
    places = np.minimum((np.array([line.confidence for line in lines]) * BINS).astype(int), BINS - 1)
    bins = []
    for place in range(BINS):
        members = [line for line, at in zip(lines, places, strict=True) if at == place]
        if members:
            mean = sum(line.confidence for line in members) / len(members)
            exact = sum(map(_is_exact, members))
            bins.append(Bin(place / BINS, (place + 1) / BINS, len(members), exact, mean))
    return tuple(bins)
