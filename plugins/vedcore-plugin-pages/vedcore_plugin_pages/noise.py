"""Noise: lines that are no text. Letters are alike in height and stand on one baseline; specks and textures do not."""

from __future__ import annotations

import numpy as np

from vedcore_plugin_pages.components import Components
from vedcore_plugin_pages.evidence import without_chance
from vedcore_plugin_pages.ink import TALLEST
from vedcore_plugin_pages.lines import Line
from vedcore_plugin_pages.photographs import Box, grown, shared

_WORD = 4  # letters: fewer say little about the size of a page's text
_BALANCE = 0.5  # of the darker ink is lighter, or the reverse
_WIDTH = 1.2  # letter heights: of a letter with the space to the next
_SENTENCE, _REGULAR = 6, 0.85  # letters, and the share of them that is regular: no texture looks like this
_TEXT = 0.15  # of a photograph's area: with more, it is a page of text
_ALIEN = 1.7  # times the size of the page's text: within a photograph, such a line is a part of it
_SAME_SIZE, _AGREE = 0.3, 0.6  # of the size; of the letters that have it
_STEEP = 0.1  # rise per pixel: lines of an upright page are level
_FEW = 5  # lines: a page with more of them and no certain one is no text
_NEAR = 3  # cells of the paper, 3 pixels each: how far the paper beyond a corner is
_BORDER = 0.08  # of the neighbourhood has that colour
_SAME = 0.3  # of the contrast: what differs by less has one colour
_SMALL, _LARGE = 0.55, 8.0  # times the size of the page's text: what a lone letter may be
_ALIKE = 0.5  # of a line's letters are of like height and stand on its baseline
_THIN = 0.15  # widths per height: a lone stroke is a rule
_SOLID = 0.75  # of its box: a lone blot
_DASH = 1.4  # widths per height: a dash
_DOT = 0.6  # of its box: a dot
_DOTS, _LOW = 5, 0.35  # dots, and the size of the page's text: a dotted rule


def without_text(found: Components, runs: list[Line], photographs: list[Box]) -> list[Box]:
    """The photographs, except those that are mostly text."""
    counts = [_letters(found, run) for run in runs]
    words = [run.box for run, one in zip(runs, counts, strict=True) if one[0] >= _SENTENCE and one[1] >= _REGULAR]
    return [box for box in photographs if sum(shared(box, word) for word in words) < _TEXT * shared(box, box)]


def without_noise(found: Components, lines: list[Line], photographs: list[Box]) -> list[Line]:
    """The lines that are text. Within a photograph only a long and regular line is."""
    counts = [_letters(found, line) for line in lines]
    sure = [line for line, one in zip(lines, counts, strict=True) if one[0] >= _SENTENCE and one[1] >= _REGULAR]
    words = [line for line, one in zip(lines, counts, strict=True) if one[0] > 1 and one[1] == 1]
    typical = _typical(sure, words, len(lines))
    odd = [
        line.box
        for line, (count, alike) in zip(lines, counts, strict=True)
        if alike < _ALIKE or (count < _WORD and (typical is None or abs(line.size - typical) > _SAME_SIZE * typical))
    ]
    photographs = grown(photographs, odd)
    light = sum(len(line.members) for line in sure if line.light) > sum(len(line.members) for line in sure) / 2
    kept = []
    for line, (count, alike) in zip(lines, counts, strict=True):
        certain = count >= _SENTENCE and alike >= _REGULAR
        alien = typical is None or not 1 / _ALIEN < line.size / typical < _ALIEN
        if (not certain or alien) and sum(shared(box, line.box) for box in photographs) > 0.5 * shared(
            line.box, line.box
        ):
            continue
        if certain:
            good = True
        elif typical is None:
            good = count > 1 and alike == 1 and len(lines) <= _FEW
        else:
            good = alike >= _ALIKE and abs(line.slope) < _STEEP and _SMALL * typical <= line.size <= _LARGE * typical
            if count < _WORD:
                good &= not _stroke(found, line) and not _corner(found, line) and (line.light == light or count > 1)
        if good and not _broken_rule(found, line, typical):
            kept.append(line)
    return without_chance(found, kept, sure, photographs)


def _letters(found: Components, line: Line) -> tuple[int, float]:
    """How many letters a line has, and the share of them that is regular: none if what is around them is as uneven."""
    boxes = found.boxes[line.members]
    heights = boxes[:, 3] - boxes[:, 1]
    letters = heights > 0.5 * line.size
    boxes, heights = boxes[letters], heights[letters]
    # Letters that touch are one component, as wide as all of them.
    wide = np.maximum(1, np.round((boxes[:, 2] - boxes[:, 0]) / (_WIDTH * line.size))).sum()
    count = int(min(wide, 2 * len(boxes) - 2)) if len(boxes) > 2 else len(boxes)
    middle = (boxes[:, 0] + boxes[:, 2]) / 2
    off = np.abs(boxes[:, 3] - line.baseline - line.slope * (middle - line.box[0]))
    alike = (heights < 1.7 * line.size) & (off < 0.4 * line.size)
    if not count or _is_texture(found, line):
        return count, 0.0
    return count, float(np.mean(alike))


def _is_texture(found: Components, line: Line) -> bool:
    """Whether a small line is in a texture, which is as much lighter than its paper as it is darker."""
    if line.size > TALLEST:
        return False
    left, top, right, bottom = (int(value) for value in line.box)
    darker = float(found.ink.darker[top:bottom, left:right].mean())
    lighter = float(found.ink.lighter[top:bottom, left:right].mean())
    return bool(min(darker, lighter) > _BALANCE * max(darker, lighter))


def _typical(sure: list[Line], words: list[Line], count: int) -> float | None:
    """The size of most of the text; None if there is none.

    sure: lines that look like text. words: short ones too. count: of all lines. On a page of text most are sure, or those
    that are not have one size, like the entries of a table.
    """
    letters = sum(len(line.members) for line in sure)
    chosen = sure if letters > count else words
    if not chosen:
        return None
    sizes = np.array([line.size for line in chosen])
    weights = np.array([len(line.members) for line in chosen])
    order = np.argsort(sizes)
    typical = float(sizes[order][np.searchsorted(np.cumsum(weights[order]), weights.sum() / 2)])
    agree = weights[np.abs(sizes - typical) < _SAME_SIZE * typical].sum() / weights.sum()
    return typical if chosen is sure or agree > _AGREE else None


def _stroke(found: Components, line: Line) -> bool:
    """Whether a line is a single stroke or blot and no letter."""
    if len(line.members) > 1:
        return False
    left, top, right, bottom = found.boxes[line.members[0]].tolist()
    width, height = right - left, bottom - top
    solid = float(found.area[line.members[0]]) / (width * height) > _SOLID
    return bool(width < _THIN * height or width > 3 * height or (solid and width > 0.5 * height))


def _broken_rule(found: Components, line: Line, typical: float | None) -> bool:
    """Whether a line is a dashed or a dotted rule."""
    boxes = found.boxes[line.members]
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    if (width >= _DASH * height).all():
        return len(boxes) > 1
    solid = found.area[line.members] >= _DOT * width * height
    low = height < _LOW * (typical if typical is not None else line.size)
    return len(boxes) >= _DOTS and bool((solid & low & (width < _DASH * height)).all())


def _corner(found: Components, line: Line) -> bool:
    """Whether a line is the corner of a panel or of the paper: its ink has the colour of the paper next to it."""
    left, top, right, bottom = (int(value) for value in line.box)
    amounts = found.ink.lighter if line.light else found.ink.darker
    contrast = float(np.percentile(amounts[top:bottom, left:right], 90))
    height, width = found.ink.paper.shape
    rows = slice(max(top // 3 - _NEAR, 0), min(bottom // 3 + _NEAR + 1, height))
    columns = slice(max(left // 3 - _NEAR, 0), min(right // 3 + _NEAR + 1, width))
    papers = found.ink.paper[rows, columns].astype(np.float64)
    own = papers.max() - contrast if not line.light else papers.min() + contrast
    return bool((np.abs(papers - own) < _SAME * contrast).mean() > _BORDER)
