"""How well a reader reads: character and word error rates, exact lines, and how far its confidence can be relied on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import jiwer
import numpy as np
from numpy.typing import NDArray

from vedcore.errors import ImageError, TrainingError
from vedcore.reader import Calibration, Reader, Reading
from vedcore.reader.calibration import with_probability
from vedcore.training.data.problem import Fault, Problem
from vedcore.training.data.sample import Dataset

BINS = 10

SURE = 0.9
"""A line with a probability above it is one that the reader is sure of."""


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
    probability: float | None = None


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
    probability_error: the same distance for the probability; None without a calibration, as the next two.
    sure, sure_wrong: the number of lines with a probability above 0.9, and of those among them that are wrong.
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
    probability_error: float | None = None
    sure: int | None = None
    sure_wrong: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The score as nested dicts and lists, as JSON holds it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The readings of a data set beside their labels.

    sources, labels, readings: one for each line that can be compared, at least one. seconds: the time of reading.
    problems: samples that could not be read or have no label.
    """

    sources: tuple[str, ...]
    labels: tuple[str, ...]
    readings: tuple[Reading, ...]
    seconds: float
    problems: tuple[Problem, ...] = ()

    @property
    def exact(self) -> NDArray[np.bool_]:
        """For each line whether its reading is its label."""
        pairs = zip(self.readings, self.labels, strict=True)
        return np.array([reading.text == label for reading, label in pairs])

    def calibrated(self, calibration: Calibration) -> Comparison:
        """The same readings, with the probabilities that ``calibration`` gives them."""
        return replace(self, readings=tuple(with_probability(reading, calibration) for reading in self.readings))

    def score(self, worst: int = 20) -> Score:
        """The numbers. worst: how many of the worst lines the score keeps."""
        found = [reading.text for reading in self.readings]
        characters = jiwer.process_characters(list(self.labels), found)
        lines = [
            ReadLine(source, label, read.text, read.confidence, read.stop_reason, _edits(chunks), read.probability)
            for source, label, read, chunks in zip(
                self.sources, self.labels, self.readings, characters.alignments, strict=True
            )
        ]
        confidences = np.array([line.confidence for line in lines])
        bad = sorted((line for line in lines if line.errors), key=lambda line: -line.errors / len(line.text))
        return Score(
            lines=len(lines),
            exact=int(self.exact.sum()),
            cer=float(characters.cer),
            wer=float(jiwer.wer(list(self.labels), found)),
            calibration_error=calibration_error(confidences, self.exact),
            lines_per_second=len(lines) / self.seconds,
            bins=_bins(confidences, self.exact),
            worst=tuple(bad[:worst]),
            problems=self.problems,
            **self._of_probabilities(),
        )

    def _of_probabilities(self) -> dict[str, Any]:
        """The fields of a score about the probabilities; none if a reading has no probability."""
        probabilities = [reading.probability for reading in self.readings]
        known = np.array([probability for probability in probabilities if probability is not None])
        if len(known) < len(probabilities):
            return {}
        sure = known > SURE
        return {
            "probability_error": calibration_error(known, self.exact),
            "sure": int(sure.sum()),
            "sure_wrong": int((sure & ~self.exact).sum()),
        }


def evaluate(
    reader: Reader, data: Dataset, *, beams: int = 1, batch_size: int = 16, cut: bool = True, worst: int = 20
) -> Score:
    """Read every sample of ``data`` and compare the readings with the labels.

    beams: 1 is greedy decoding. cut: cut long lines into pieces, as ``reader.read`` does. worst: how many of the worst lines
    the score keeps. Raises TrainingError if no sample can be compared.
    """
    return compare(reader, data, beams=beams, batch_size=batch_size, cut=cut).score(worst)


def compare(reader: Reader, data: Dataset, *, beams: int = 1, batch_size: int = 16, cut: bool = True) -> Comparison:
    """The readings of all samples. The arguments and the errors are those of ``evaluate``."""
    problems: list[Problem] = list(getattr(data, "problems", ()))
    samples = [data[index] for index in range(len(data))]
    fields: dict[str, Any] = {"num_beams": beams} if beams > 1 else {}
    started = time.perf_counter()
    layout = "line" if cut else "whole"  # never a page, whatever the default of the reader is
    results = list(reader.each((s.image for s in samples), batch_size=batch_size, layout=layout, **fields))
    seconds = time.perf_counter() - started
    read: list[tuple[str, str, Reading]] = []
    for sample, result in zip(samples, results, strict=True):
        if isinstance(result, ImageError):
            problems.append(Problem(Fault.unreadable_image, sample.source, str(result)))
        elif not sample.text.strip():
            problems.append(Problem(Fault.empty_label, sample.source, "no text to compare with"))
        else:
            read.append((sample.source, sample.text, result))
    if not read:
        raise TrainingError(
            f"no line of {len(samples)} can be compared: {'; '.join(map(str, problems[:3])) or 'the data set is empty'}",
            found=problems,
        )
    sources, labels, readings = zip(*read, strict=True)
    return Comparison(sources, labels, readings, seconds, tuple(problems))


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


def calibration_error(values: NDArray[np.float64], exact: NDArray[np.bool_]) -> float:
    """The mean distance between the mean of the values (N,) from 0 to 1 and the share of exact lines in each tenth."""
    return sum(abs(b.exact - b.lines * b.confidence) for b in _bins(values, exact)) / len(values)


def _edits(chunks: Sequence[Any]) -> int:
    return sum(
        max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
        for chunk in chunks
        if chunk.type != "equal"
    )


def _bins(values: NDArray[np.float64], exact: NDArray[np.bool_]) -> tuple[ConfidenceBin, ...]:
    """The bins that are not empty, the lowest values first."""
    indices = np.minimum((values * BINS).astype(int), BINS - 1)
    bins = []
    for index in range(BINS):
        members = indices == index
        if members.any():
            bins.append(
                ConfidenceBin(
                    low=index / BINS,
                    high=(index + 1) / BINS,
                    lines=int(members.sum()),
                    exact=int(exact[members].sum()),
                    confidence=float(values[members].mean()),
                )
            )
    return tuple(bins)
