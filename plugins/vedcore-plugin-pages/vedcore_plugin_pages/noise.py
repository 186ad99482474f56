"""Noise: runs that are no text. Letters of a line are alike in height and stand on one baseline; specks and textures do not."""

from __future__ import annotations

import numpy as np

from vedcore_plugin_pages.components import Components
from vedcore_plugin_pages.lines import Line
from vedcore_plugin_pages.photographs import Box, grown, shared

_WORD = 4  # letters: fewer say little about the size of a page's text
_SENTENCE, _REGULAR = 6, 0.85  # letters, and the share of them that is regular: no texture looks like this
_TEXT = 0.15  # of a photograph's area: with more, it is a page of text
_STEEP = 0.1  # rise per pixel: lines of an upright page are level
_FEW = 5  # lines: a page with more of them and no certain one is no text
_INITIAL = 1.8  # times the size of the page's text: a larger lone mark of the other polarity is a corner of the paper
_SMALL, _LARGE = 0.55, 8.0  # times the size of the page's text: what a lone letter may be
_ALIKE = 0.5  # of a line's letters are of like height and stand on its baseline
_THIN = 0.15  # widths per height: a lone stroke is a rule
_SOLID = 0.75  # of its box: a lone blot


def without_noise(found: Components, lines: list[Line], photographs: list[Box]) -> tuple[list[Line], list[Box]]:
    """The lines that are text, and the photographs that are none of it.

    Within a photograph only a long and regular line is text; and where much of it is text, it is no photograph.
    """
    counts = [_letters(found, line) for line in lines]
    sure = [line for line, one in zip(lines, counts, strict=True) if one[0] >= _SENTENCE and one[1] >= _REGULAR]
    texts = [line.box for line in sure]
    photographs = [box for box in photographs if sum(shared(box, text) for text in texts) < _TEXT * shared(box, box)]
    few = [line.box for line, (count, alike) in zip(lines, counts, strict=True) if count < _WORD or alike < _ALIKE]
    photographs = grown(photographs, few)
    typical = _typical(sure)
    light = sum(len(line.members) for line in sure if line.light) > sum(len(line.members) for line in sure) / 2
    kept = []
    for line, (count, alike) in zip(lines, counts, strict=True):
        certain = count >= _SENTENCE and alike >= _REGULAR
        if not certain and sum(shared(box, line.box) for box in photographs) > 0.5 * shared(line.box, line.box):
            continue
        if certain:
            good = True
        elif typical is None:
            good = count > 1 and alike == 1 and len(lines) <= _FEW
        else:
            good = alike >= _ALIKE and abs(line.slope) < _STEEP and _SMALL * typical <= line.size <= _LARGE * typical
            if count < _WORD:
                good &= not _stroke(found, line) and (line.light == light or line.size < _INITIAL * typical)
        if good:
            kept.append(line)
    return kept, photographs


def _letters(found: Components, line: Line) -> tuple[int, float]:
    """How many letters a line has, and the share of them that is regular."""
    boxes = found.boxes[line.members]
    heights = boxes[:, 3] - boxes[:, 1]
    letters = heights > 0.5 * line.size
    count = int(np.count_nonzero(letters))
    boxes, heights = boxes[letters], heights[letters]
    middle = (boxes[:, 0] + boxes[:, 2]) / 2
    off = np.abs(boxes[:, 3] - line.baseline - line.slope * (middle - line.box[0]))
    alike = (heights < 1.7 * line.size) & (off < 0.4 * line.size)
    return count, float(np.mean(alike)) if count else 0.0


def _typical(lines: list[Line]) -> float | None:
    """The size of most of the text."""
    if not lines:
        return None
    sizes = np.array([line.size for line in lines])
    weights = np.array([len(line.members) for line in lines])
    order = np.argsort(sizes)
    return float(sizes[order][np.searchsorted(np.cumsum(weights[order]), weights.sum() / 2)])


def _stroke(found: Components, line: Line) -> bool:
    """Whether a line is a single stroke or blot and no letter."""
    if len(line.members) > 1:
        return False
    left, top, right, bottom = found.boxes[line.members[0]].tolist()
    width, height = right - left, bottom - top
    solid = float(found.area[line.members[0]]) / (width * height) > _SOLID
    return width < _THIN * height or width > 3 * height or (solid and width > 0.5 * height)
