"""The pieces of long lines as samples: the pixels that a reader takes for each piece, with its part of the label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import attrs
import numpy as np
from numpy.typing import NDArray

from vedcore.config import field, strict
from vedcore.errors import ImageError
from vedcore.training.data.problem import Fault, Problem
from vedcore.training.data.sample import Dataset, Sample
from vedcore.training.data.validated import BadSampleError
from vedcore.vision import CutPiece, CutRule, cut_line, load_image

Pixels = NDArray[np.uint8]

TIGHTEST = 8
"""The number of tighter rules that are tried for a line whose pieces have too many characters."""

_STEP = 0.8  # times the length of the pieces of the rule before


@strict
class Cut:
    """How a line of a data set is cut. line: its index. rule: how many times the rule is tightened. texts: one for each piece;
    none if the line is left out.
    """

    line: int = field.integer(0, at_least=0)
    rule: int = field.integer(0, at_least=0, at_most=TIGHTEST)
    texts: tuple[str, ...] = ()


def tightened(rule: CutRule, times: int) -> CutRule:
    """The rule with shorter pieces, even of short lines: in narrow type a piece of the usual length has too many letters."""
    if not times:
        return rule
    longest = rule.longest * _STEP**times
    return attrs.evolve(rule, above=longest, longest=longest, shortest=min(rule.shortest, longest))


def pieces_of(pixels: Pixels, rule: CutRule) -> list[CutPiece]:
    """(H, W, 3) -> the pieces of a line from left to right, as a reader takes them; one for a line that is not cut."""
    return cut_line(pixels, rule) or [CutPiece((0, 0, pixels.shape[1], pixels.shape[0]), pixels)]


class Pieces:
    """The lines of ``data`` as samples, with the pixels that a reader takes.

    A line in ``cuts``, by its index, is one sample for each of its pieces.
    """

    def __init__(self, data: Dataset, rule: CutRule, cuts: Mapping[int, Cut]) -> None:
        self.data, self.rule, self.cuts = data, rule, cuts
        self._starts: NDArray[np.int64] | None = None  # None: the data set may be endless, and none of its lines is cut
        if cuts:
            counts = np.ones(len(data), dtype=np.int64)
            for cut in cuts.values():
                counts[cut.line] = len(cut.texts)
            self._starts = np.concatenate([[0], np.cumsum(counts)])

    def __len__(self) -> int:
        return len(self.data) if self._starts is None else int(self._starts[-1])

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        if self._starts is None:
            return self._whole(self.data[index])
        line = int(np.searchsorted(self._starts, index, side="right")) - 1
        sample, cut = self.data[line], self.cuts.get(line)
        return self._whole(sample) if cut is None else self._piece(sample, cut, index - int(self._starts[line]))

    def _whole(self, sample: Sample) -> Sample:
        """A line that is one piece, or one that cannot be used or is not to be cut: that one stays as it is."""
        try:
            pieces = pieces_of(np.asarray(load_image(sample.image)), self.rule)
        except ImageError:
            return sample
        return replace(sample, image=pieces[0].pixels) if len(pieces) == 1 else sample

    def _piece(self, sample: Sample, cut: Cut, number: int) -> Sample:
        try:
            pixels = np.asarray(load_image(sample.image))
        except ImageError as error:
            raise BadSampleError(Problem(Fault.unreadable_image, sample.source, str(error))) from error
        pieces = pieces_of(pixels, tightened(self.rule, cut.rule))
        if len(pieces) != len(cut.texts):
            detail = f"its image has {len(pieces)} pieces, but had {len(cut.texts)} before the first step"
            raise BadSampleError(Problem(Fault.bad_sample, sample.source, detail))
        source = f"{sample.source} (piece {number + 1} of {len(pieces)})"
        return Sample(pieces[number].pixels, cut.texts[number], source)
