"""Where a wide word is cut, tested on counts of ink in its columns."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vedcore.vision.word_cuts import cut_word


def test_a_word_is_cut_at_the_columns_with_the_least_ink() -> None:
    ink = np.full(200, 9)
    ink[[104, 75, 110]] = 2, 1, 3
    (_, end), (start, _) = cut_word(ink, longest=140, height=20)
    assert (start, end) == (75, 104)


def test_of_several_gaps_the_middle_of_the_widest_is_cut() -> None:
    ink = np.full(200, 9)
    ink[102:104] = ink[108:113] = ink[80] = 0
    (_, end), (start, _) = cut_word(ink, longest=140, height=20)
    assert (start, end) == (80, 111)


def test_a_word_without_thin_places_is_cut_into_even_parts() -> None:
    parts = cut_word(np.full(300, 9), longest=140, height=20)
    widths = [end - start for start, end in parts]
    assert len(parts) == 3
    assert max(widths) - min(widths) <= 1
    assert [before[1] - after[0] for before, after in pairwise(parts)] == [30, 30]


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=900),
    st.integers(1, 60),
    st.sampled_from([0.5, 1.0, 2.0, 7.0, 10.0]),
)
def test_parts_hold_every_column_are_at_most_the_longest_and_overlap(
    ink: list[int], height: int, longest: float
) -> None:
    parts = cut_word(np.array(ink), longest=longest * height, height=height)
    assert (parts[0][0], parts[-1][1]) == (0, len(ink))
    assert all(end - start <= max(4, longest * height) for start, end in parts)
    for (start, end), (following, last) in pairwise(parts):
        assert start < following < end < last
        assert end - following <= max(2, 2 * height)
