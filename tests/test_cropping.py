"""Wide margins, frames and rulings of a line are left out; letters that look like strokes are not."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from vedcore.vision import CutRule, cut_line
from vedcore.vision.ink import Pixels, find_ink
from vedcore.vision.rulings import find_rulings

RULE = CutRule()
SIZE = 30


def drawn(text: str, margins: tuple[int, int, int, int] = (8, 8, 8, 8), size: int = SIZE) -> tuple[Image.Image, Pixels]:
    """A line with margins (left, top, right, bottom) around its ink, and the pixels of the ink alone."""
    font = ImageFont.load_default(size=size)
    image = Image.new("L", (round(font.getlength(text)) + 4 * size, 4 * size), 255)
    ImageDraw.Draw(image).text((2 * size, size), text, font=font, fill=0)
    ink = image.crop(image.point(lambda level: 255 * (level < 128)).getbbox())
    left, top, right, bottom = margins
    line = Image.new("L", (ink.width + left + right, ink.height + top + bottom), 255)
    line.paste(ink, (left, top))
    return line, np.asarray(ink)


def framed(text: str, width: int = 2, away: int = 10, sides: str = "lrtb") -> tuple[Image.Image, Pixels]:
    """A line in a box, or with some of its sides, which then go from edge to edge of the image."""
    line, ink = drawn(text, (20, 20, 20, 20))
    draw = ImageDraw.Draw(line)
    right, bottom = line.width - 1, line.height - 1
    if sides == "lrtb":
        draw.rectangle((20 - away, 20 - away, right - 20 + away, bottom - 20 + away), outline=0, width=width)
        return line, ink
    near, far = 20 - away, away - 20
    boxes = {
        "l": (near, 0, near + width - 1, bottom),
        "r": (right + far, 0, right + far + width - 1, bottom),
        "t": (0, near, right, near + width - 1),
        "b": (0, bottom + far, right, bottom + far + width - 1),
    }
    for side in sides:
        draw.rectangle(boxes[side], fill=0)
    return line, ink


def assert_cropped(line: Image.Image, ink: Pixels) -> None:
    """The line is one piece: the ink, a margin of three or four pixels, and background."""
    (piece,) = cut_line(np.asarray(line), RULE)
    height, width = ink.shape
    assert height + 6 <= piece.pixels.shape[0] <= height + 10
    dark = np.argwhere(piece.pixels < 128)
    (top, left), (bottom, right) = dark.min(axis=0), dark.max(axis=0) + 1
    assert (bottom - top, right - left) == (height, width)
    assert 3 <= left <= 5
    assert np.array_equal(piece.pixels[top:bottom, left:right], ink)


@pytest.mark.parametrize(
    "margins",
    [(150, 150, 150, 150), (150, 8, 8, 8), (8, 150, 8, 8), (8, 8, 150, 8), (8, 8, 8, 150)],
    ids=["all", "left", "above", "right", "below"],
)
@pytest.mark.parametrize("text", ["Total 1,234", "illicit", "[a] | b"])
def test_a_line_with_a_wide_margin_is_cropped_to_its_ink(margins: tuple[int, int, int, int], text: str) -> None:
    assert_cropped(*drawn(text, margins))


@pytest.mark.parametrize("text", ["Total 1,234", "illicit", "[a] | b", "- 5", "ok", "I", "...", "-"])
@pytest.mark.parametrize("margin", [0, 1, 3, 8, 14])
def test_an_ordinary_crop_stays_as_it_is(text: str, margin: int) -> None:
    line, _ = drawn(text, (margin,) * 4)
    assert cut_line(np.asarray(line), RULE) == []


def test_paper_that_extends_a_narrow_line_is_no_wide_margin() -> None:
    line, _ = drawn("ok", (4, 4, 4, 4))
    wide = Image.new("L", (3 * line.height, line.height), 255)
    wide.paste(line, (0, 0))
    assert cut_line(np.asarray(wide), RULE) == []


def test_text_that_is_too_faint_for_ink_is_not_cropped_away() -> None:
    line, _ = drawn("Total", (8, 8, 300, 8))
    grey, _ = drawn("12.50", (0, 0, 0, 0))
    line.paste(grey.point(lambda level: 255 - (255 - level) // 3), (line.width - 100, 8))
    assert find_ink(np.asarray(line))[:, -120:].sum() == 0
    pieces = cut_line(np.asarray(line), RULE)
    assert all(piece.box[2] >= line.width - 100 + grey.width for piece in pieces)


@pytest.mark.parametrize("deviation", [5, 15])
def test_grain_does_not_hide_a_wide_margin(deviation: float) -> None:
    line, ink = drawn("Total 1,234", (150, 150, 150, 150))
    grain = np.random.default_rng(0).normal(0, deviation, (line.height, line.width))
    noisy = np.clip(np.asarray(line) * 0.9 + 10 + grain, 0, 255).astype(np.uint8)
    (piece,) = cut_line(noisy, RULE)
    assert abs(piece.pixels.shape[0] - ink.shape[0] - 6) <= 4


@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("text", ["Total 1,234", "OK!", "illicit", "a | b", "gypsy [1]", "x = 5_a"])
def test_a_box_is_left_out(text: str, width: int) -> None:
    assert_cropped(*framed(text, width))


@pytest.mark.parametrize("sides", ["l", "r", "lr", "lb", "rt", "tb", "lrb"])
@pytest.mark.parametrize("text", ["Total 1,234", "illicit |"])
def test_the_borders_of_a_table_cell_are_left_out(text: str, sides: str) -> None:
    assert_cropped(*framed(text, sides=sides))


def test_light_text_in_a_light_box_is_read_like_dark_text_in_a_dark_one() -> None:
    line, _ = framed("Total 1,234")
    dark = np.asarray(line)
    (piece,), (inverted,) = cut_line(dark, RULE), cut_line(255 - dark, RULE)
    assert np.array_equal(inverted.pixels, 255 - piece.pixels)


def test_a_stroke_stays_where_letters_touch_it() -> None:
    line, _ = framed("Total 1,234", sides="b")
    draw = ImageDraw.Draw(line)
    draw.rectangle((40, 30, 42, line.height - 11), fill=0)  # a letter that hangs down to the ruling
    (piece,) = cut_line(np.asarray(line), RULE)
    left, top, _, _ = piece.box
    touched = piece.pixels[line.height - 12 - top, 40 - left : 43 - left]
    assert (touched < 128).all()
    assert (piece.pixels[-4:, 80 - left : 100 - left] > 128).all()


@pytest.mark.parametrize(
    "text",
    [
        *"lI|[](){}/\\_-=—TLEFHOD0B8#",
        "[]",
        "[ ]",
        "|a|",
        "||",
        "l l",
        "[x]",
        "|less|",
        "less",
        "a_b",
        "a____",
        "____",
        "-----",
        "====",
        "- - - -",
        "a — b",
        "Name: ____",
        "HIIH",
        "EE",
        "LL|",
        "1 | 2 | 3",
    ],
)
@pytest.mark.parametrize("margin", [2, 10, 150])
def test_letters_that_look_like_strokes_survive(text: str, margin: int) -> None:
    line, ink = drawn(text, (margin,) * 4)
    pixels = np.asarray(line)
    rulings = find_rulings(find_ink(pixels)).mask
    letters = (pixels < 128) & ~rulings
    assert not rulings.any() or not letters.any()  # a stroke alone has no letters, so nothing is left out
    for piece in cut_line(pixels, RULE):
        assert np.count_nonzero(piece.pixels < 128) == np.count_nonzero(ink < 128)


@pytest.mark.parametrize("size", [12, 24, 60])
def test_a_box_is_found_at_every_size(size: int) -> None:
    line, ink = drawn("Invoice 17", (size,) * 4, size=size)
    away = size // 3
    box = (size - away, size - away, line.width - size + away, line.height - size + away)
    ImageDraw.Draw(line).rectangle(box, outline=0, width=max(1, size // 15))
    assert_cropped(line, ink)


@pytest.mark.parametrize("angle", [-1.0, 0.7])
def test_a_box_that_leans_is_left_out(angle: float) -> None:
    line, _ = framed("Invoice 2024", width=2, away=14)
    turned = np.asarray(line.rotate(angle, Image.Resampling.BICUBIC, expand=True, fillcolor=255))
    (piece,) = cut_line(turned, RULE)
    assert piece.box[0] > 15
    assert piece.box[2] < turned.shape[1] - 15
