"""Where the words of a line are, tested on lines whose words are drawn one by one. Spans are columns (start, end)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vedcore.reader.words import InkGaps, ink_gaps

TEXT = "The clocks were striking thirteen, and I saw a fox - in No. 7"
PAPER = 255


def drawn(
    text: str, *, size: float = 24, spaces: dict[int, float] | None = None, ink: int = 0
) -> tuple[NDArray[np.uint8], list[tuple[int, int]]]:
    """(H, W) of the words of a text, and the columns with the ink of each. spaces: the index of a space and its width."""
    font = ImageFont.load_default(size=size)
    width = round(font.getlength(text) + 40 + sum((spaces or {}).values()))
    line = np.full((round(2 * size), width), PAPER, dtype=np.uint8)
    spans, at = [], 10.0
    for number, word in enumerate(text.split(" ")):
        image = Image.new("L", line.shape[::-1], PAPER)
        ImageDraw.Draw(image).text((round(at), size / 4), word, font=font, fill=ink)
        pixels = np.asarray(image)
        columns = np.flatnonzero((pixels < 160).any(axis=0))
        spans.append((int(columns[0]), int(columns[-1]) + 1))
        line = np.minimum(line, pixels)
        at += font.getlength(word) + (spaces or {}).get(number, font.getlength(" "))
    return line, spans


def placed(pixels: NDArray[np.uint8], text: str) -> list[tuple[float, float]]:
    """The columns of the words that were placed."""
    found = ink_gaps(pixels).place(text)
    assert [word for word, *_ in found] == text.split()
    width = pixels.shape[1]
    return [(start * width, end * width) for _, start, end in found]


def assert_near(found: list[tuple[float, float]], spans: list[tuple[int, int]], within: float = 1.5) -> None:
    assert len(found) == len(spans)
    assert np.abs(np.array(found) - np.array(spans)).max(initial=0) <= within


@pytest.mark.parametrize("size", [16, 24, 40, 64])
def test_a_word_is_where_its_ink_is(size: int) -> None:
    pixels, spans = drawn(TEXT, size=size)
    assert_near(placed(pixels, TEXT), spans, within=2.5)  # a full stop of two pixels may be a speck


def test_light_on_dark_and_colour_are_placed_like_dark_on_light() -> None:
    pixels, _ = drawn(TEXT)
    light = 255 - pixels
    red = np.stack([np.full_like(pixels, 200), pixels, pixels], axis=2)
    assert placed(light, TEXT) == placed(red, TEXT) == placed(pixels, TEXT)


@pytest.mark.parametrize("deviation", [3, 12, 30])
def test_grain_moves_no_word(deviation: float) -> None:
    pixels, spans = drawn(TEXT)
    grain = np.random.default_rng(0).normal(0, deviation, pixels.shape)
    assert_near(placed(np.clip(pixels + grain, 0, 255).astype(np.uint8), TEXT), spans, within=3)


def test_a_ruling_under_the_words_joins_no_words() -> None:
    pixels, spans = drawn(TEXT)
    pixels[-5:-3, 3:-3] = 0
    assert_near(placed(pixels, TEXT), spans)


def test_a_tab_is_a_gap_like_a_space() -> None:
    text = "Total in euros 12.00 including 7 %"
    pixels, spans = drawn(text, spaces={2: 300})
    assert_near(placed(pixels, text), spans)


def test_a_gap_within_a_word_may_be_wider_than_a_space() -> None:
    text = "chapter one seven"
    pixels, spans = drawn(text)
    inside = np.flatnonzero((pixels[:, : spans[0][1]] == PAPER).all(axis=0))
    middle = int(inside[np.abs(inside - sum(spans[0]) / 2).argmin()])
    apart = np.insert(pixels, [middle] * 8, PAPER, axis=1)  # letter-spaced: now wider than the spaces
    moved = [(start + 8 * (start > middle), end + 8) for start, end in spans]
    assert_near(placed(apart, text), moved)


def test_a_space_that_the_reader_missed_leaves_the_other_words_where_they_are() -> None:
    pixels, spans = drawn(TEXT)
    joined = TEXT.replace("were striking", "werestriking")
    assert_near(placed(pixels, joined), [*spans[:2], (spans[2][0], spans[3][1]), *spans[4:]])


def test_words_without_gaps_are_placed_by_their_lengths() -> None:
    found = InkGaps(0.1, 0.9, ((0.2, 0.3),)).place("on onno on")
    assert [word for word, *_ in found] == ["on", "onno", "on"]
    assert np.allclose([span for _, *span in found], [(0.1, 0.26), (0.34, 0.66), (0.74, 0.9)])


def test_a_line_with_more_words_than_gaps_are_kept_is_placed_by_their_lengths() -> None:
    image = np.full((20, 2000), PAPER, dtype=np.uint8)
    image[5:15, 10:-10] = 0
    image[5:15, 20:-20:10] = PAPER
    gaps = ink_gaps(image)
    assert len(gaps.gaps) == 64
    assert len(gaps.place("a " * 198)) == 198


@pytest.mark.parametrize("shape", [(0, 0), (40, 0), (0, 40), (1, 1), (30, 300), (30, 300, 3)])
def test_a_line_without_ink_is_as_wide_as_its_image(shape: tuple[int, ...]) -> None:
    blank = ink_gaps(np.full(shape, 200, dtype=np.uint8))
    assert blank == InkGaps(0.0, 1.0, ())
    assert blank.place("word") == [("word", 0.0, 1.0)]


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_a_text_without_words_has_no_places(text: str) -> None:
    assert ink_gaps(drawn(TEXT)[0]).place(text) == []


def test_white_space_of_any_kind_separates_words() -> None:
    gaps = ink_gaps(drawn("one two three")[0])
    assert gaps.place(" one\ttwo\u00a0\n three ") == gaps.place("one two three")


@given(
    st.lists(
        st.text("abcdefghijklmnopqrstuvwxyzABCDEGHNOQRSU0123456789", min_size=1, max_size=9), min_size=1, max_size=9
    )
)
@settings(deadline=None)
def test_the_words_of_a_printed_line_contain_their_ink(words: list[str]) -> None:
    text = " ".join(words)
    pixels, spans = drawn(text)
    assert_near(placed(pixels, text), spans)


edges = st.lists(st.floats(0, 1), max_size=20).map(sorted)


@given(edges, st.text(st.sampled_from("iw W\u2003."), max_size=30))
def test_places_are_in_order_within_the_ink(values: list[float], text: str) -> None:
    runs = [(start, end) for start, end in zip(values[::2], values[1::2], strict=False) if end > start]
    gaps = tuple(sorted(((a, b) for (_, a), (b, _) in pairwise(runs) if b > a), key=lambda gap: gap[0] - gap[1]))
    ink = InkGaps(runs[0][0], runs[-1][1], gaps) if runs else InkGaps()
    found = ink.place(text)
    assert [word for word, *_ in found] == text.split()
    sides = [side for _, *span in found for side in span]
    assert all(left <= right + 1e-9 for left, right in pairwise(sides))
    assert all(ink.start - 1e-9 <= side <= ink.end + 1e-9 for side in sides)
