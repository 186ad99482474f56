"""Cut the long lines of a data set as a reader does, and split their labels with what the reader reads in the pieces."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

import numpy as np
import torch

from vedcore.errors import ImageError
from vedcore.reader import Reader
from vedcore.reader.words import InkGaps, ink_gaps
from vedcore.training.data.alignment import PieceReading, Places, split_label
from vedcore.training.data.label_encoder import LabelEncoder
from vedcore.training.data.pieces import TIGHTEST, Cut, Pixels, pieces_of, tightened
from vedcore.training.data.problem import Fault, Problem
from vedcore.training.data.sample import Dataset, Sample
from vedcore.training.data.validated import sample_at
from vedcore.vision import CutPiece, CutRule, load_image

_TOGETHER = 64  # lines whose images are in memory at the same time
_BATCH = 32  # pieces that are read at once


@dataclass(slots=True)
class CutLines:
    """The lines of a data set that are cut or left out, by index, and why lines are left out."""

    cuts: dict[int, Cut] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def lines(self) -> int:
        """The number of lines that are cut."""
        return sum(bool(cut.texts) for cut in self.cuts.values())

    @property
    def pieces(self) -> int:
        """The number of pieces of these lines."""
        return sum(len(cut.texts) for cut in self.cuts.values())


def cut_rule_of(reader: Reader) -> CutRule | None:
    """The rule by which the reader cuts long lines; None if it reads images whole."""
    return None if reader.layout == "whole" else reader.cut_rule


@dataclass(slots=True)
class _Line:
    """A line that is cut: its index, its sample, the width of its image, the gaps in its ink, and its pieces."""

    index: int
    sample: Sample
    width: int
    gaps: InkGaps
    pieces: Sequence[CutPiece]


class LineCutter:
    """Cuts lines by the rule of ``reader``. Its model stays as it is: a copy on ``device`` reads the pieces.

    A model with random weights reads nothing; then the places of the words on the line split its label.
    """

    def __init__(self, reader: Reader, rule: CutRule, device: torch.device | str = "cpu") -> None:
        self.reader, self.rule, self.device = reader, rule, device
        self._encode = LabelEncoder.for_reader(reader)
        self._spaced = rule.separator.isspace()

    def cut(self, data: Dataset) -> CutLines:
        """All lines of ``data`` that the rule cuts, or whose labels are too long for the decoder.

        A line that cannot be read as a sample, or whose label cannot be encoded, stays whole: its use shows the problem.
        """
        found = CutLines()
        for start in range(0, len(data), _TOGETHER):
            samples = {at: sample_at(data, at) for at in range(start, min(start + _TOGETHER, len(data)))}
            self._cut({at: sample for at, sample in samples.items() if isinstance(sample, Sample)}, found)
        return found

    def _cut(self, samples: dict[int, Sample], found: CutLines) -> None:
        """Cut these lines, by index: first by the rule, then those whose parts are too long by tighter and tighter ones."""
        for times in range(TIGHTEST + 1):
            lines = []
            for index, sample in samples.items():
                line = self._opened(index, sample, times)
                if line is not None:
                    lines.append(line)
            samples = {}
            for line, readings in zip(lines, self._read_pieces(lines), strict=True):
                result = self._split(line, readings, times)
                if result is None:
                    samples[line.index] = line.sample
                elif isinstance(result, Problem):
                    found.problems.append(result)
                    found.cuts[line.index] = Cut(line=line.index)
                else:
                    found.cuts[line.index] = result
        for index, sample in samples.items():
            problem = self._encode(sample.text, sample.source)
            found.problems += [problem] if isinstance(problem, Problem) else []
            found.cuts[index] = Cut(line=index)

    def _opened(self, index: int, sample: Sample, times: int) -> _Line | None:
        """The line with its pieces, or None if it stays whole."""
        label = self._encode(sample.text, sample.source)
        if isinstance(label, Problem) and label.fault != Fault.too_long:
            return None
        try:
            pixels = np.asarray(load_image(sample.image))
        except ImageError:
            return None
        pieces = pieces_of(pixels, tightened(self.rule, times))
        if len(pieces) == 1 and not isinstance(label, Problem):
            return None
        return _Line(index, sample, pixels.shape[1], ink_gaps(pixels), pieces)

    def _split(self, line: _Line, readings: Sequence[tuple[str, float]], times: int) -> Cut | Problem | None:
        """The cut of a line, why it cannot be cut, or None if a tighter rule is needed."""
        text, source = line.sample.text, line.sample.source
        if len(line.pieces) == 1:
            return None
        pieces = [
            PieceReading(piece.box[0] / line.width, piece.box[2] / line.width, *reading, overlaps=piece.overlap > 0)
            for piece, reading in zip(line.pieces, readings, strict=True)
        ]
        split = split_label(text, Places.of_words(text, line.gaps.place(text)), pieces, spaced=self._spaced)
        if split is None:
            read = " | ".join(read for read, _ in readings)
            detail = f"{text[:80]!r} does not fit its {len(pieces)} pieces, which the reader reads as {read[:80]!r}"
            return Problem(Fault.not_aligned, source, detail)
        parts = split.parts(text)
        for part in parts:
            encoded = self._encode(part, source)
            if isinstance(encoded, Problem):
                return None if encoded.fault == Fault.too_long else encoded
        return Cut(line=line.index, rule=times, texts=tuple(parts))

    def _read_pieces(self, lines: Sequence[_Line]) -> Iterator[list[tuple[str, float]]]:
        """The text and the confidence of each piece, by line; empty texts if the model cannot read."""
        images: list[Pixels] = [piece.pixels for line in lines for piece in line.pieces]
        if images and not self.reader.model.untrained:
            results = self._copy.read(images, layout="whole", batch_size=_BATCH, num_beams=1, do_sample=False)
            texts = iter([(result.text, result.confidence) for result in results])
        else:
            texts = iter([("", 0.0)] * len(images))
        for line in lines:
            yield list(islice(texts, len(line.pieces)))

    @cached_property
    def _copy(self) -> Reader:
        model = copy.deepcopy(self.reader.model).to(self.device)
        model.eval()
        model.prepare()
        return Reader(model, self.reader.processor)
