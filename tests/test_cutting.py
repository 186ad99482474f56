"""Cutting long lines, tested on drawn lines whose correct cuts are known. A box is left, top, right, bottom."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from vedcore.errors import ConfigError, ImageError
from vedcore.vision import CutPiece, CutRule, cut_line
from vedcore.vision.ink import Pixels

RULE = CutRule()
HEIGHT = 20  # of the drawn letters: 0.16 heights are 3.2 pixels, 0.3 are 6, 7 are 140, 8 are 160
PAPER, INK = 240, 20


def drawn(
    widths: list[int],
    gaps: list[int],
    *,
    height: int = HEIGHT,
    left: int = 10,
    top: int = 15,
    right: int = 10,
    solid: bool = False,
) -> tuple[Pixels, list[tuple[int, int]]]:
    """(H, W) of words with these widths and the gaps between them, and the columns (start, end) of each word.

    A word is strokes of three pixels with gaps of one between them, all as high as the line; a solid one has no gaps.
    """
    spans, at = [], left
    for width, gap in zip(widths, [*gaps, 0], strict=True):
        spans.append((at, at + width))
        at += width + gap
    image = np.full((height + 2 * top, at + right), PAPER, dtype=np.uint8)
    for start, end in spans:
        image[top : top + height, start:end] = INK
        if not solid:
            image[top : top + height, start + 3 : end - 3 : 4] = PAPER
    return image, spans


def inks(pieces: list[CutPiece]) -> list[tuple[int, int]]:
    """The columns of each piece without its margin of three pixels."""
    return [(piece.box[0] + 3, piece.box[2] - 3) for piece in pieces]


def test_a_line_is_cut_above_eight_heights_and_not_at_eight() -> None:
    exact, _ = drawn([75, 75], [10])
    wider, spans = drawn([75, 76], [10])
    assert cut_line(exact, RULE) == []
    assert inks(cut_line(wider, RULE)) == spans


def test_the_fewest_pieces_within_the_limit_are_chosen() -> None:
    image, spans = drawn([60] * 6, [10] * 5)
    assert inks(cut_line(image, RULE)) == [
        (spans[0][0], spans[1][1]),
        (spans[2][0], spans[3][1]),
        (spans[4][0], spans[5][1]),
    ]


def test_with_equally_many_pieces_the_most_even_ones_are_chosen() -> None:
    image, spans = drawn([20] * 6, [10] * 5)
    assert inks(cut_line(image, RULE)) == [(spans[0][0], spans[2][1]), (spans[3][0], spans[5][1])]


def test_words_with_a_narrow_gap_stay_together() -> None:
    image, spans = drawn([65, 65, 65, 65], [8, 5, 8])
    assert inks(cut_line(image, RULE)) == [spans[0], (spans[1][0], spans[2][1]), spans[3]]


def test_a_gap_that_is_only_the_room_of_a_full_stop_is_not_cut() -> None:
    image, spans = drawn([60, 4, 60], [9, 9], solid=True)
    image[15:31, spans[1][0] : spans[1][1]] = PAPER
    assert inks(cut_line(image, CutRule(above=6.5, longest=6.0))) == [(spans[0][0], spans[2][1])]
    spaced, spans = drawn([60, 4, 60], [3, 16], solid=True)
    spaced[15:31, spans[1][0] : spans[1][1]] = PAPER
    assert inks(cut_line(spaced, CutRule(above=6.5, longest=6.0))) == [(spans[0][0], spans[1][1]), spans[2]]


def test_a_gap_with_a_mark_too_faint_for_ink_is_not_cut() -> None:
    image, spans = drawn([75, 76], [10])
    assert len(cut_line(image, RULE)) == 2
    image[32:34, spans[0][1] + 4 : spans[0][1] + 6] = (PAPER + INK) // 2 + 20
    assert cut_line(image, RULE) == [CutPiece((7, 12, 174, 38), image[12:38, 7:174])]


def test_a_faint_full_stop_at_the_end_is_part_of_the_last_word() -> None:
    image, spans = drawn([80, 80], [10])
    stop = spans[1][1] + 4
    image[32:35, stop : stop + 2] = (PAPER + INK) // 2 + 20
    assert cut_line(image, RULE)[-1].box[2] == stop + 2 + 3


def test_a_word_a_little_wider_than_the_limit_is_whole() -> None:
    widest = math.floor(1.15 * 8 * HEIGHT)
    whole, spans = drawn([widest, 40], [10])
    assert inks(cut_line(whole, RULE)) == spans
    assert len(cut_line(drawn([widest + 1, 40], [10])[0], RULE)) == 3


def test_a_wide_word_is_cut_where_it_has_no_ink_and_its_pieces_overlap() -> None:
    image, ((start, end),) = drawn([300], [], top=25)
    image[30:40, start + 3 : end - 3] = INK  # joins all strokes but those at the gaps
    gaps = range(start + 43, end - 40, 40)
    for gap in gaps:
        image[:, gap : gap + 2] = PAPER
    pieces = cut_line(image, RULE)
    assert (pieces[0].box[0], pieces[-1].box[2]) == (start - 3, end + 3)
    assert len(pieces) == 3
    assert pieces[0].overlap == 0
    for before, after in pairwise(pieces):
        assert after.overlap == before.box[2] - after.box[0]
        assert HEIGHT <= after.overlap <= 2 * HEIGHT
        assert before.box[2] - 1 in gaps or after.box[0] - 1 in gaps


def test_a_wide_word_between_others_is_cut_alone() -> None:
    image, spans = drawn([40, 300, 40], [10, 10], top=25)
    first, *word, last = cut_line(image, RULE)
    assert inks([first, last]) == [spans[0], spans[2]]
    assert [piece.overlap > 0 for piece in word] == [False, True, True]
    assert (word[0].box[0] + 3, word[-1].box[2] - 3) == spans[1]
    assert last.overlap == 0


def test_a_thick_bar_is_a_word_and_not_a_ruling() -> None:
    image = np.full((60, 200), PAPER, dtype=np.uint8)
    image[20:40, 20:182] = INK
    assert [piece.box for piece in cut_line(image, RULE)] == [(17, 17, 185, 43)]


def test_a_box_is_the_ink_of_its_own_piece_with_three_pixels() -> None:
    image, spans = drawn([100, 100], [10])
    image[:20, : spans[0][1]] = PAPER
    first, second = cut_line(image, RULE)
    assert first.box == (spans[0][0] - 3, 20 - 3, spans[0][1] + 3, 35 + 3)
    assert second.box == (spans[1][0] - 3, 15 - 3, spans[1][1] + 3, 35 + 3)


def test_a_margin_ends_at_the_edge_of_the_image_and_at_the_next_ink() -> None:
    image, spans = drawn([60, 60], [4], height=12, left=1, top=20, right=0)
    first, second = cut_line(image[18:], RULE)
    assert first.box == (0, 0, spans[1][0] - 1, 2 + 12 + 3)
    assert second.box == (spans[0][1] + 1, 0, spans[1][1], 2 + 12 + 3)


@pytest.mark.parametrize("colour", [False, True])
def test_pixels_are_those_of_the_box_and_a_narrow_piece_is_extended_with_background(colour: bool) -> None:
    image, _ = drawn([135, 20], [10])
    if colour:
        image = np.stack([image, image - 5, image - 10], axis=2)
    wide, narrow = cut_line(image, RULE)
    left, top, right, bottom = wide.box
    assert np.array_equal(wide.pixels, image[top:bottom, left:right])
    left, top, right, bottom = narrow.box
    assert narrow.pixels.shape[:2] == (HEIGHT + 6, 3 * (HEIGHT + 6))
    assert np.array_equal(narrow.pixels[:, : right - left], image[top:bottom, left:right])
    assert (narrow.pixels[:, right - left :] == image[0, 0]).all()


def test_a_piece_is_at_least_as_wide_as_the_shortest() -> None:
    image, _ = drawn([135, 20], [10])
    narrow = cut_line(image, CutRule(shortest=2.9))[1]
    assert narrow.pixels.shape == (HEIGHT + 6, 76)


def test_the_image_is_not_changed_and_not_shared() -> None:
    image, _ = drawn([100, 100], [10])
    before = image.copy()
    for piece in cut_line(image, RULE):
        piece.pixels[:] = 77
    assert np.array_equal(image, before)


def test_light_on_dark_is_cut_like_dark_on_light() -> None:
    image, _ = drawn([60, 60, 90, 20], [10, 4, 10])
    dark = 255 - image
    pieces, inverted = cut_line(image, RULE), cut_line(dark, RULE)
    assert [piece.box for piece in inverted] == [piece.box for piece in pieces] != []
    assert all(np.array_equal(a.pixels, 255 - b.pixels) for a, b in zip(pieces, inverted, strict=True))


def test_colour_is_cut_like_grey() -> None:
    image, _ = drawn([60, 60, 90, 20], [10, 4, 10])
    red = np.stack([np.full_like(image, 200), image, image], axis=2)
    assert [p.box for p in cut_line(red, RULE)] == [p.box for p in cut_line(image, RULE)] != []


@pytest.mark.parametrize("row", [15 + HEIGHT + 3, 15 + HEIGHT - 4, 15 + 9, 3], ids=["under", "base", "struck", "over"])
def test_a_ruling_along_the_line_fills_no_gap_and_adds_no_height(row: int) -> None:
    image, spans = drawn([60, 60, 90], [10, 10])
    ruled = image.copy()
    ruled[row : row + 2, 4:-4] = INK
    pieces = cut_line(ruled, RULE)
    assert inks(pieces) == inks(cut_line(image, RULE)) == [(spans[0][0], spans[1][1]), spans[2]]
    assert {(piece.box[1], piece.box[3]) for piece in pieces} == {(12, 38)}


def test_a_ruling_that_climbs_is_still_a_ruling() -> None:
    image, spans = drawn([60, 60, 90], [10, 10])
    image[42:44, 4:130] = INK
    image[41:43, 130:-4] = INK
    assert inks(cut_line(image, RULE)) == [(spans[0][0], spans[1][1]), spans[2]]


def test_a_stroke_under_one_word_is_part_of_it() -> None:
    image, spans = drawn([80, 80], [10])
    image[36:38, spans[0][0] : spans[0][1]] = INK
    first, second = cut_line(image, CutRule(above=7.0))
    assert first.box[3] == 38 + 3
    assert second.box[3] == 35 + 3


def test_a_ruling_alone_is_not_a_line_of_letters() -> None:
    image = np.full((40, 400), PAPER, dtype=np.uint8)
    image[4:6, 10:390] = image[34:36, 10:390] = INK
    assert cut_line(image, RULE) == []


def test_specks_change_no_height_and_fill_no_gap() -> None:
    image, spans = drawn([60, 60, 90], [10, 10])
    clean = [piece.box for piece in cut_line(image, RULE)]
    image[2, 3] = image[48, 100] = image[5, -2] = INK
    image[25, spans[0][1] : spans[1][0] : 2] = INK
    assert [piece.box for piece in cut_line(image, RULE)] == clean


def test_a_full_stop_is_not_a_speck() -> None:
    image, spans = drawn([80, 80], [10])
    stop = spans[1][1] + 4
    image[33:35, stop : stop + 2] = INK
    assert cut_line(image, RULE)[-1].box[2] == stop + 2 + 3


def test_a_full_stop_is_not_a_speck_if_one_letter_hangs_low() -> None:
    image, spans = drawn([170, 170], [10], top=30)
    image[50:70, 10:12] = INK
    stop = spans[1][1] + 4
    image[48:50, stop : stop + 2] = INK
    assert cut_line(image, RULE)[-1].box[2] == stop + 2 + 3


@pytest.mark.parametrize("deviation", [3, 12, 30])
def test_grain_moves_no_cut(deviation: float) -> None:
    image, spans = drawn([60, 60, 90], [10, 10])
    grain = np.random.default_rng(0).normal(0, deviation, image.shape)
    noisy = np.clip(image + grain, 0, 255).astype(np.uint8)
    assert inks(cut_line(noisy, RULE)) == [(spans[0][0], spans[1][1]), spans[2]]


@pytest.mark.parametrize("density", [0.0005, 0.01, 0.05, 0.2, 0.5])
def test_noise_alone_gives_boxes_inside_the_image_or_none(density: float) -> None:
    for shape in [(40, 600), (40, 600, 3), (3, 500), (200, 1)]:
        noise = np.where(np.random.default_rng(1).random(shape) < density, 0, 255).astype(np.uint8)
        for piece in cut_line(noise, RULE):
            left, top, right, bottom = piece.box
            assert 0 <= left < right <= shape[1]
            assert 0 <= top < bottom <= shape[0]


def test_dots_that_are_large_enough_only_together_are_a_piece() -> None:
    image, spans = drawn([270], [], height=40, right=400)
    colon = spans[0][1] + 300
    image[30:33, colon : colon + 4] = image[45:48, colon : colon + 4] = INK
    assert inks(cut_line(image, RULE)) == [spans[0], (colon, colon + 4)]


@pytest.mark.parametrize(
    "shape", [(0, 0), (0, 300), (40, 0), (1, 1), (40, 1), (1, 400), (40, 400), (40, 400, 3), (0, 9, 3)]
)
@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_image_without_ink_is_left_as_it_is(shape: tuple[int, ...], level: int) -> None:
    assert cut_line(np.full(shape, level, dtype=np.uint8), RULE) == []


def test_paper_that_is_only_uneven_is_left_as_it_is() -> None:
    image, _ = drawn([100, 100], [10])
    faint = np.where(image == INK, PAPER - 15, PAPER).astype(np.uint8)
    plain = np.where(image == INK, PAPER - 16, PAPER).astype(np.uint8)
    assert cut_line(faint, RULE) == []
    assert len(cut_line(plain, RULE)) == 2


def test_one_column_is_left_as_it_is() -> None:
    column = np.full((44, 1), PAPER, dtype=np.uint8)
    column[12:32] = INK
    assert cut_line(column, RULE) == []


@pytest.mark.parametrize("size", [20, 32, 60])
def test_a_printed_line_is_cut_between_words(size: int) -> None:
    font = ImageFont.load_default(size=size)
    text = "The clocks were striking thirteen, and a quick brown fox jumped"
    image = Image.new("L", (32 * size, 2 * size), 255)
    ImageDraw.Draw(image).text((10, size // 4), text, font=font, fill=0)
    spaces = [
        (10 + font.getlength(text[:at]), 10 + font.getlength(text[: at + 1]))
        for at, letter in enumerate(text)
        if letter == " "
    ]
    pieces = inks(cut_line(np.asarray(image), RULE))
    cuts = [(end + start) / 2 for (_, end), (start, _) in pairwise(pieces) if start >= end]
    assert 3 <= len(pieces) <= 5
    assert len(cuts) >= 2
    assert all(any(start < cut < end for start, end in spaces) for cut in cuts)


def test_letters_far_apart_are_not_cut_if_the_spaces_are_wider() -> None:
    """A monospaced line: gaps between letters are as wide as narrow spaces, and the line's own spaces are wider."""
    letters, gaps = [10] * 24, [5] * 23
    for space in (7, 15):
        gaps[space] = 30
    image, spans = drawn(letters, gaps, height=20, solid=True)
    cuts = [end for _, end in inks(cut_line(image, RULE))][:-1]
    assert cuts == [spans[7][1], spans[15][1]]


def test_letters_alone_are_one_word_that_is_cut_between_letters() -> None:
    image, spans = drawn([10] * 22, [5] * 21, height=20, solid=True)
    pieces = cut_line(image, RULE)
    edges = [piece.box[2] for piece in pieces[:-1]] + [piece.box[0] for piece in pieces[1:]]
    assert all(piece.overlap for piece in pieces[1:])
    assert all(any(end <= edge <= start for (_, end), (start, _) in pairwise(spans)) for edge in edges)


lines = st.integers(10, 40).flatmap(
    lambda height: st.integers(1, 12).flatmap(
        lambda count: st.tuples(
            st.just(height),
            st.lists(st.integers(height, 9 * height), min_size=count, max_size=count),
            st.lists(st.integers(2, height), min_size=count - 1, max_size=count - 1),
        )
    )
)


@settings(deadline=None)
@given(lines, st.integers(0, 9), st.booleans())
def test_pieces_show_all_ink_and_follow_the_rule(
    line: tuple[int, list[int], list[int]], edge: int, light: bool
) -> None:
    height, widths, gaps = line
    image, spans = drawn(widths, gaps, height=height, left=edge, top=3 * height // 4, right=edge, solid=True)
    pieces = cut_line(255 - image if light else image, RULE)
    wide = spans[-1][1] - spans[0][0] > RULE.above * height
    assert bool(pieces) == wide
    shown = np.zeros(image.shape, dtype=np.bool_)
    reached = 0
    for piece in pieces:
        left, top, right, bottom = piece.box
        assert 0 <= left < right <= image.shape[1]
        assert right - left - 6 <= 1.15 * RULE.above * height
        assert piece.pixels.shape[1] == max(right - left, math.ceil(RULE.shortest * (bottom - top)))
        assert left >= reached - 3 if piece.overlap == 0 else piece.overlap == reached - left
        assert piece.overlap <= 2 * height
        shown[top:bottom, left:right] = True
        reached = right
    assert not wide or shown[image == INK].all()


@settings(deadline=None)
@given(st.lists(st.integers(HEIGHT, 7 * HEIGHT), min_size=1, max_size=16))
def test_fewer_pieces_are_impossible(widths: list[int]) -> None:
    image, spans = drawn(widths, [8] * (len(widths) - 1))
    pieces, start = 1, spans[0][0]
    for left, right in spans:  # taking as many words as fit, from the left, is best where all gaps are alike
        if right - start > RULE.longest * HEIGHT:
            pieces, start = pieces + 1, left
    expected = pieces if spans[-1][1] - spans[0][0] > RULE.above * HEIGHT else 0
    assert len(cut_line(image, RULE)) == expected


@pytest.mark.parametrize("field", ["above", "longest", "shortest"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan, True, "7", None])
def test_a_width_must_be_a_finite_number_above_zero(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"{field} must be a finite number above 0"):
        CutRule(**{field: value})  # type: ignore[arg-type]


def test_a_separator_is_a_string() -> None:
    assert CutRule(separator="").separator == ""
    with pytest.raises(ConfigError, match="separator must be a string"):
        CutRule(separator=None)  # type: ignore[arg-type]


@pytest.mark.parametrize("widths", [(6.5, 7.0, 3.0), (8.0, 2.5, 3.0)])
def test_the_widths_of_a_rule_must_be_in_order(widths: tuple[float, float, float]) -> None:
    above, longest, shortest = widths
    with pytest.raises(ConfigError, match="shortest <= longest <= above"):
        CutRule(above=above, longest=longest, shortest=shortest)
    assert CutRule(above=5.0, longest=5.0, shortest=5.0).above == 5.0


def test_an_int_is_stored_as_a_float() -> None:
    rule = CutRule(above=9, longest=8, shortest=2)
    assert [type(value) for value in (rule.above, rule.longest, rule.shortest)] == [float] * 3
    assert rule == CutRule(above=9.0, longest=8.0, shortest=2.0)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((9, 9)),
        np.zeros(9, np.uint8),
        np.zeros((9, 9, 4), np.uint8),
        np.zeros((1, 9, 9, 3), np.uint8),
    ],
)
def test_an_array_that_is_not_an_image_is_refused_with_its_shape(pixels: Pixels) -> None:
    with pytest.raises(ImageError, match=r"got \w+ of shape \("):
        cut_line(pixels, RULE)
