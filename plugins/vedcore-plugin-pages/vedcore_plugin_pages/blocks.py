"""Blocks: rows of one size below each other, and the order in which blocks are read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vedcore_plugin_pages.columns import Row
from vedcore_plugin_pages.components import Floats, Ints
from vedcore_plugin_pages.lines import Box

Block = list[Row]
"""Rows from the top down."""

_ALIKE = 1.5  # times: the sizes of two rows of a block
_PITCH = 3.4  # letter heights from baseline to baseline; more begins a block
_SHARED = 0.5  # of the narrower row's width is below the other row
_MOST = 600  # blocks that are compared with each other; a page with more is no text


def find_blocks(rows: list[Row]) -> list[Block]:
    """Rows -> blocks in reading order."""
    if not rows:
        return []
    blocks = [[rows[index] for index in chain] for chain in _chains(rows)]
    if len(blocks) > _MOST:
        return sorted(blocks, key=lambda block: (box_of(block)[1], box_of(block)[0]))
    boxes = np.array([box_of(block) for block in blocks])
    single = np.array([len(block) == 1 for block in blocks])
    return [blocks[index] for index in _ordered(boxes, single)]


def box_of(block: Block) -> Box:
    """The box around a block."""
    boxes = np.array([line.box for row in block for line in row])
    (left, top), (right, bottom) = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    return (float(left), float(top), float(right), float(bottom))


def _chains(rows: list[Row]) -> list[list[int]]:
    """Rows -> the indices of the rows of each block, from the top down."""
    boxes = np.array([box_of([row]) for row in rows])
    size = np.array([float(np.median([line.size for line in row])) for row in rows])
    base = np.array([float(np.mean([line.baseline for line in row])) for row in rows])
    light = np.array([row[0].light for row in rows])
    order = np.argsort(base, kind="stable")
    ranked = base[order]
    below = _nearest(boxes, size, base, order, ranked, 1)
    above = _nearest(boxes, size, base, order, ranked, -1)
    follower: dict[int, int] = {}
    for row, other in below.items():
        shared = min(boxes[row, 2], boxes[other, 2]) - max(boxes[row, 0], boxes[other, 0])
        narrower = min(boxes[row, 2] - boxes[row, 0], boxes[other, 2] - boxes[other, 0])
        alike = max(size[row], size[other]) < _ALIKE * min(size[row], size[other]) and light[row] == light[other]
        if above.get(other) == row and alike and shared > _SHARED * narrower:
            follower[row] = other
    firsts = sorted(set(range(len(rows))) - set(follower.values()))
    chains = []
    for first in firsts:
        chain = [first]
        while chain[-1] in follower:
            chain.append(follower[chain[-1]])
        chains.append(chain)
    return chains


def _nearest(boxes: Floats, size: Floats, base: Floats, order: Ints, ranked: Floats, way: int) -> dict[int, int]:
    """For each row the nearest row below it (way 1) or above it (way -1) that shares columns with it."""
    nearest = {}
    for row in range(len(base)):
        reach = _PITCH * size[row]
        if way > 0:
            near = order[
                np.searchsorted(ranked, base[row] + 0.5 * size[row]) : np.searchsorted(ranked, base[row] + reach)
            ]
        else:
            near = order[
                np.searchsorted(ranked, base[row] - reach) : np.searchsorted(ranked, base[row] - 0.5 * size[row])
            ]
        shared = np.minimum(boxes[near, 2], boxes[row, 2]) - np.maximum(boxes[near, 0], boxes[row, 0])
        near = near[shared > 0]
        if len(near):
            nearest[row] = int(near[0] if way > 0 else near[-1])
    return nearest


def _ordered(boxes: Floats, single: NDArray[np.bool_]) -> list[int]:
    """(n, 4) boxes and whether each has a single row -> their indices in reading order.

    What stands alone at the head or at the foot of the page is read first or last. Between them, a block is read before those
    below it in its columns, and before those to its right, unless a block across both lies between them.
    """
    order = np.argsort(boxes[:, 1], kind="stable").tolist()
    head: list[int] = []
    while len(order) > 1 and single[order[0]] and boxes[order[0], 3] <= boxes[order[1:], 1].min() + 1:
        head.append(order.pop(0))
    foot: list[int] = []
    while len(order) > 1:
        last = max(order, key=lambda index: boxes[index, 3])
        band = [index for index in order if boxes[index, 3] > boxes[last, 1]]
        rest = [index for index in order if index not in band]
        if not rest or not single[band].all() or len(band) > 4:
            break
        foot = sorted(band, key=lambda index: boxes[index, 0]) + foot
        order = rest
    middle = np.array(order, np.int64)
    return [*head, *(int(middle[index]) for index in _sorted(boxes[middle])), *foot]


def _sorted(boxes: Floats) -> list[int]:
    """(n, 4) -> indices in topological order of "is read before"."""
    left, top, right, bottom = boxes.T
    overlap = np.minimum(right[:, None], right) - np.maximum(left[:, None], left)
    narrower = np.minimum((right - left)[:, None], right - left)
    stacked = overlap > 0.1 * narrower
    centre = (top + bottom) / 2
    before = stacked & (centre[:, None] < centre)
    beside = ~stacked & (left[:, None] < left)
    above = bottom[:, None] <= top + 0.3 * np.minimum((bottom - top)[:, None], bottom - top)
    for across in range(len(boxes)):
        over = stacked[across]
        if np.count_nonzero(over) > 2:
            parted = np.outer(over & above[:, across], over & above[across])
            before |= parted & ~stacked
            beside &= ~(parted | parted.T)
    before |= _apart(boxes, stacked)
    before |= beside & ~before.T
    np.fill_diagonal(before, False)
    waiting = before.sum(axis=0)
    done = np.zeros(len(boxes), np.bool_)
    result: list[int] = []
    for _ in range(len(boxes)):
        # In a circle of blocks the one that the fewest precede is next.
        keys = np.lexsort((left, top, np.where(done, np.iinfo(np.int64).max, waiting)))
        chosen = int(keys[0])
        done[chosen] = True
        waiting = waiting - before[chosen]
        result.append(chosen)
    return result


def _apart(boxes: Floats, stacked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(n, 4) -> (n, n): whether a block is above another, to its right, and neither has anything beside it.

    So the address at the upper right of a letter is read before the text below it, which is not in a column of its own.
    """
    left, top, right, bottom = boxes.T
    level = np.minimum(bottom[:, None], bottom) > np.maximum(top[:, None], top)
    has_left = (level & (right <= left[:, None])).any(axis=1)
    has_right = (level & (left >= right[:, None])).any(axis=1)
    above = bottom[:, None] <= top + 0.3 * np.minimum((bottom - top)[:, None], bottom - top)
    apart = above & ~stacked & (left[:, None] > left) & ~has_left[:, None] & ~has_right
    return np.asarray(apart, dtype=np.bool_)
