"""Components: the connected pieces of ink that may be letters, found at every size with a pyramid.

Each level of the pyramid has half the resolution of the one before, and contributes the components that are as high as
letters there. So a heading and a footnote are found in the same way, and pictures are never text.
Shapes: H x W pixels of the finest level, N components.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vedcore_plugin_pages.ink import TALLEST, Ink, Pixels, find_ink
from vedcore_plugin_pages.rules import SHORTEST, find_rules

Labels = NDArray[np.int32]
"""(H, W): 0, or 1 + the index of the component that owns the pixel."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_LEVELS = 6
_REACH = 1.25  # times TALLEST: a "y" may be as high, and would run together with its neighbours at the next level
_SMALLEST_LEVEL = 24  # pixels: a shorter side holds no level
_COARSE = 9  # pixels: a lower component of a coarser level was found at a finer one
_BLOTS = ((5, 13), (7, 17), (9, 99))  # no stroke is as thick (pixels) in a letter lower than this
_LONGEST = 40  # heights: a longer component is no word
_FLATTEST = 12  # widths per height: a flatter component is a rule, not a dash
_PIECE = 0.35  # of its height: marks that are lower are pieces of a letter, and not the letters of a blurred word
_COVERED = 0.5  # of a component: with this much in common, two components of two levels are the same ink
_SMALLEST_BOX = 8  # pixels: a box to tick is larger
_SHARES = (0.06, 0.15, 0.35, 0.5, 0.65, 0.85, 0.94)  # of the side of a box, where it has ink
_WORN = 18  # pixels: the sides of a smaller box are straight
_THIN = 6  # pixels: the side of a box is no thicker
_MOST = 60_000  # components; more than the letters of a newspaper page


@dataclass(frozen=True, slots=True)
class Components:
    """boxes: (N, 4) left, top, right, bottom, the latter two exclusive. area: (N,) pixels. light: (N,) lighter than paper.

    owner: (H, W). ink: of the finest level. rules: (H, W), 1 at rules of the finest level.
    """

    boxes: Ints
    area: Ints
    light: NDArray[np.bool_]
    owner: Labels
    ink: Ink
    rules: Pixels

    @property
    def heights(self) -> Ints:
        """(N,)"""
        return self.boxes[:, 3] - self.boxes[:, 1]

    @property
    def widths(self) -> Ints:
        """(N,)"""
        return self.boxes[:, 2] - self.boxes[:, 0]


def find_components(grey: Pixels) -> Components:
    """(H, W) -> its components."""
    owner = np.zeros(grey.shape, np.int32)
    found: list[_Found] = []
    first = ink = find_ink(grey)
    level_grey, known = grey, np.zeros_like(grey)
    rules = known
    for level in range(_LEVELS):
        if level:
            ink = find_ink(level_grey, ink.contrast)
        for light, mask in enumerate((ink.dark, ink.light)):
            marks = _marks(mask & (1 - known), level, bool(light))
            if marks is None:
                continue
            known = known | marks.rules
            if level == 0:
                rules = known
            if len(marks.boxes):
                found.append(_claimed(marks, owner, sum(len(one.boxes) for one in found), found, level))
        if min(level_grey.shape) < 2 * _SMALLEST_LEVEL:
            break
        size = (level_grey.shape[1] // 2, level_grey.shape[0] // 2)
        level_grey = np.asarray(cv2.resize(level_grey, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        known = find_rules(np.asarray(cv2.resize(cv2.dilate(known, np.ones((3, 3), np.uint8)), size), dtype=np.uint8))
    return _collected(found, owner, first, rules)


@dataclass(slots=True)
class _Found:
    """The marks of one polarity at one level. boxes in pixels of the finest level; area 0 for a mark that was replaced."""

    boxes: Ints
    area: Ints
    light: bool
    labels: Labels
    rules: Pixels


def _marks(mask: Pixels, level: int, light: bool) -> _Found | None:
    """(h, w) of a level -> its components that may be letters, labelled from 1 in the order of ``boxes``."""
    if not mask.any():
        return None
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8, ltype=cv2.CV_32S)
    rules = np.zeros_like(mask)
    large = (stats[:, 2] >= SHORTEST) | (stats[:, 3] >= SHORTEST)
    large[0] = False
    if large.any():
        rules = find_rules(np.asarray(large.view(np.uint8)[labels], dtype=np.uint8))
        if rules.any():
            mask = mask & (1 - rules)
            count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8, ltype=cv2.CV_32S)
    left, top, width, height, area = stats.T.astype(np.int64)
    keep = (height <= _REACH * TALLEST) & (width <= _LONGEST * height) & (height >= (_COARSE if level else 1))
    keep &= (width <= _FLATTEST * height) | (width < SHORTEST // 2)
    if level:
        for thickness, below in _BLOTS:
            blots = labels[cv2.erode(mask, np.ones((thickness, thickness), np.uint8)) > 0]
            keep[blots[height[blots] < below]] = False
    keep[0] = False
    kept = np.flatnonzero(keep)
    if len(kept) > _MOST:
        kept = np.sort(kept[np.argpartition(area[kept], -_MOST)[-_MOST:]])
    number = np.zeros(count, np.int32)
    number[kept] = np.arange(1, len(kept) + 1)
    scale = 1 << level
    boxes = np.stack([left, top, left + width, top + height], axis=1)[kept] * scale
    return _Found(boxes, area[kept] * scale**2, light, number[labels], rules)


def _claimed(marks: _Found, owner: Labels, before: int, found: list[_Found], level: int) -> _Found:
    """The marks, with their pixels claimed in ``owner``, from number ``before`` + 1 on.

    A mark whose ink mostly belongs to marks of finer levels is blurred small text, and is dropped; finer marks that are
    mostly within one that stays are parts of a large letter, and are dropped instead.
    """
    scale = 1 << level
    below = owner[scale // 2 :: scale, scale // 2 :: scale][: marks.labels.shape[0], : marks.labels.shape[1]]
    labels = marks.labels[: below.shape[0], : below.shape[1]]
    if level and before:
        size = np.bincount(labels.ravel(), minlength=len(marks.boxes) + 1)
        taken = np.bincount(labels[below > 0], minlength=len(marks.boxes) + 1)
        heights = np.concatenate([[0], *(one.boxes[:, 3] - one.boxes[:, 1] for one in found)])
        reach = np.bincount(labels[below > 0], weights=heights[below[below > 0]], minlength=len(marks.boxes) + 1)
        own = np.concatenate([[0], marks.boxes[:, 3] - marks.boxes[:, 1]])
        stays = (taken < _COVERED * np.maximum(size, 1)) | (reach < _PIECE * own * taken)
        stays[0] = False
        marks.area[~stays[1:]] = 0
        labels = np.where(stays, np.arange(len(stays)), 0).astype(np.int32)[labels]
        hidden = np.bincount(below[labels > 0], minlength=before + 1) * scale**2
        start = 1
        for one in found:
            part = hidden[start : start + len(one.boxes)]
            if one.light == marks.light:
                one.area[part > _COVERED * one.area] = 0
            start += len(one.boxes)
    rows, columns = np.nonzero(labels)
    numbers = labels[rows, columns] + np.int32(before)
    # What lies on a mark of the other polarity is text on a panel, and stays.
    keeps = np.concatenate([[False], *(np.full(len(one.boxes), one.light != marks.light) for one in found)])
    for down in range(scale):
        for right in range(scale):
            y, x = rows * scale + down, columns * scale + right
            free = ~keeps[owner[y, x]]
            owner[y[free], x[free]] = numbers[free]
    return marks


def _collected(found: list[_Found], owner: Labels, ink: Ink, rules: Pixels) -> Components:
    """All marks as one list; ``owner`` gets their final numbers."""
    boxes = np.concatenate([np.zeros((0, 4), np.int64), *(one.boxes for one in found)])
    area = np.concatenate([np.zeros(0, np.int64), *(one.area for one in found)])
    light = np.concatenate([np.zeros(0, np.bool_), *(np.full(len(one.boxes), one.light) for one in found)])
    stays = area > 0
    height, width = owner.shape
    boxes = np.minimum(boxes[stays], [width, height, width, height])
    if not stays.all():
        number = np.zeros(len(area) + 1, np.int32)
        number[1:][stays] = np.arange(1, len(boxes) + 1)
        owner = number[owner]
    everything = Components(boxes, area[stays], light[stays], owner, ink, rules)
    return _without(everything, _outlines(everything))


def _without(found: Components, dropped: NDArray[np.bool_]) -> Components:
    """The components except those that are dropped, (N,)."""
    if not dropped.any():
        return found
    number = np.zeros(len(dropped) + 1, np.int32)
    number[1:][~dropped] = np.arange(1, np.count_nonzero(~dropped) + 1)
    owner = number[found.owner]
    stays = ~dropped
    return Components(found.boxes[stays], found.area[stays], found.light[stays], owner, found.ink, found.rules)


def _outlines(found: Components) -> NDArray[np.bool_]:
    """(N,): the components that are the outline of a box, or its side between two rules."""
    left, top, right, bottom = found.boxes.T
    box = (
        (found.heights >= _SMALLEST_BOX)
        & (found.widths >= _SMALLEST_BOX)
        & (found.area < 0.6 * found.heights * found.widths)
    )
    # A side of a worn or leaning box lies a pixel inside.
    box &= _has_sides(found, 0) | _has_sides(found, 1)
    # What stands on the end of a rule and goes on in its direction is a rest of it.
    last = found.rules.shape[0] - 1
    middle = np.minimum((left + right) // 2, found.rules.shape[1] - 1)
    ends = [
        (found.rules[np.clip(near, 0, last), middle] & found.rules[np.clip(far, 0, last), middle]) > 0
        for near, far in ((top - 2, top - 2 - _THIN), (bottom + 1, bottom + 1 + _THIN))
    ]
    short = found.rules[np.clip(top - 2, 0, last), middle] & found.rules[np.clip(bottom + 1, 0, last), middle]
    side = (found.widths * 3 < found.heights) & (found.widths <= _THIN) & (ends[0] | ends[1] | (short > 0))
    return np.asarray(box | side, dtype=np.bool_)


def _has_sides(found: Components, depth: int) -> NDArray[np.bool_]:
    """(N,): whether all four sides have ink, at most ``depth`` pixels inside, up to the corners: a round letter has none."""
    left, top, right, bottom = found.boxes.T
    number = np.arange(1, len(found.boxes) + 1)
    has = np.minimum(found.heights, found.widths) >= _WORN * depth
    for share in _SHARES:
        x = np.round(left + share * (right - 1 - left)).astype(np.int64)
        y = np.round(top + share * (bottom - 1 - top)).astype(np.int64)
        for rows, columns, down, across in (
            (top, x, 1, 0),
            (bottom - 1, x, -1, 0),
            (y, left, 0, 1),
            (y, right - 1, 0, -1),
        ):
            near = np.clip(rows + depth * down, top, bottom - 1), np.clip(columns + depth * across, left, right - 1)
            has &= (found.owner[rows, columns] == number) | (found.owner[near] == number)
    return np.asarray(has, dtype=np.bool_)
