"""The segmenter of pages, on small pages drawn with Pillow's own font."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw, ImageFont

from vedcore_plugin_pages import PAGES, segment_page

WORDS = ["many", "small", "rivers", "carry", "light", "boats", "along", "quiet", "banks", "while", "people", "watch"]


def page(width=640, height=480, colour="white"):
    return Image.new("RGB", (width, height), colour)


def sentence(start, count):
    return " ".join(WORDS[(start + index) % len(WORDS)] for index in range(count))


def write(image, x, y, text, size=18, colour="black"):
    ImageDraw.Draw(image).text((x, y), text, fill=colour, font=ImageFont.load_default(size))


def paragraph(image, x, y, lines, words=6, size=18, colour="black"):
    for line in range(lines):
        write(image, x, y + round(line * size * 1.4), sentence(line * 5, words), size, colour)


def array(image):
    return np.asarray(image)


def middles(region):
    """The middle of each line, (x, y)."""
    return [tuple(np.mean(line.polygon, axis=0)) for line in region.lines]


def text_page():
    image = page()
    paragraph(image, 60, 60, 10)
    return image


def test_each_line_of_a_page_is_a_region_in_order():
    region = segment_page(array(text_page()))
    heights = [y for _, y in middles(region)]
    assert len(heights) == 10
    assert heights == sorted(heights)
    assert region.warnings == ()


def test_the_corners_of_a_line_go_around_its_text():
    image = page(400, 100)
    write(image, 50, 40, "many rivers")
    left, top, right, bottom = ImageDraw.Draw(image).textbbox((50, 40), "many rivers", font=ImageFont.load_default(18))
    ((first, second, third, fourth),) = [line.polygon for line in segment_page(array(image)).lines]
    assert first[0] < left < right < second[0]
    assert first[1] < top + 1
    assert third[1] > bottom - 1
    assert fourth[0] == pytest.approx(first[0], abs=0.01)
    assert second[1] == pytest.approx(first[1], abs=0.01)


@pytest.mark.parametrize("degrees", [-13, -4, 2, 9])
def test_a_turned_page_has_the_lines_of_a_straight_one(degrees):
    turned = text_page().rotate(degrees, expand=True, resample=Image.Resampling.BICUBIC, fillcolor="white")
    lines = segment_page(array(turned)).lines
    assert len(lines) == 10
    for line in lines:
        (x0, y0), (x1, y1) = line.polygon[:2]
        assert np.degrees(np.arctan2(y0 - y1, x1 - x0)) == pytest.approx(degrees, abs=0.6)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_page_on_its_side_or_head_gives_the_upright_lines(quarters):
    image = page(640, 640)
    paragraph(image, 60, 60, 20)
    upright, turned = (segment_page(np.rot90(array(image), -turns)).lines for turns in (0, quarters))
    assert len(turned) == len(upright) == 20
    for one, other in zip(upright, turned, strict=True):
        assert one.pixels.shape == other.pixels.shape
        assert np.abs(one.pixels.astype(int) - other.pixels).mean() < 3


def test_light_text_on_dark_paper_becomes_dark_on_light():
    image = page(colour="#101830")
    paragraph(image, 60, 60, 8, colour="#eeeeee")
    dark = segment_page(array(image)).lines
    image = page()
    paragraph(image, 60, 60, 8)
    assert len(dark) == 8
    for one, other in zip(dark, segment_page(array(image)).lines, strict=True):
        assert one.pixels.shape == other.pixels.shape
        assert np.median(one.pixels) == 255
        assert np.abs(one.pixels.astype(int) - other.pixels).mean() < 12


def test_dark_and_light_text_are_found_on_one_page():
    image = text_page()
    ImageDraw.Draw(image).rectangle((40, 350, 600, 440), fill="#203060")
    paragraph(image, 60, 365, 2, colour="white")
    assert len(segment_page(array(image)).lines) == 12


def test_columns_are_read_one_after_the_other():
    image = page(900, 480)
    for x in (40, 480):
        paragraph(image, x, 60, 12)
    found = middles(segment_page(array(image)))
    assert [x < 450 for x, _ in found] == [True] * 12 + [False] * 12


def test_a_heading_over_columns_is_read_first_and_a_page_number_last():
    image = page(900, 560)
    write(image, 60, 20, "many small rivers", 40)
    for x in (40, 480):
        paragraph(image, x, 100, 14)
    write(image, 440, 520, "17")
    found = middles(segment_page(array(image)))
    assert len(found) == 30
    assert found[0][1] < 70
    assert found[-1][1] > 510


def test_a_table_is_read_row_by_row_without_its_rules():
    image = page(620, 400)
    draw = ImageDraw.Draw(image)
    for row in range(7):
        draw.line((40, 40 + 40 * row, 580, 40 + 40 * row), fill="black", width=2)
    for column in range(4):
        draw.line((40 + 180 * column, 40, 40 + 180 * column, 280), fill="black", width=2)
    for row in range(6):
        for column in range(3):
            write(image, 50 + 180 * column, 49 + 40 * row, sentence(row * 3 + column, 2))
    lines = segment_page(array(image)).lines
    assert len(lines) == 18
    assert [int(y // 40) for _, y in middles(segment_page(array(image)))] == [
        row + 1 for row in range(6) for _ in range(3)
    ]
    for line in lines:
        dark = line.pixels < 128
        assert dark.mean(axis=0).max() < 0.95
        assert dark.mean(axis=1).max() < 0.95


def test_labels_and_values_of_a_form_are_read_together():
    image = page(620, 400)
    draw = ImageDraw.Draw(image)
    for row in range(6):
        write(image, 40, 40 + 50 * row, sentence(row, 1))
        write(image, 240, 40 + 50 * row, sentence(row + 4, 2))
        draw.line((230, 64 + 50 * row, 580, 64 + 50 * row), fill="black")
    found = middles(segment_page(array(image)))
    assert [x > 200 for x, _ in found] == [False, True] * 6


def test_a_photograph_gives_a_warning_and_no_lines():
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    photograph = np.asarray(Image.fromarray(noise).resize((640, 480), Image.Resampling.BICUBIC))
    region = segment_page(photograph)
    assert region.lines == ()
    assert len(region.warnings) == 1
    assert "photograph" in region.warnings[0]


def test_text_around_a_photograph_is_found():
    image = text_page()
    noise = np.random.default_rng(0).integers(0, 256, (20, 40, 3), dtype=np.uint8)
    image.paste(Image.fromarray(noise).resize((400, 130), Image.Resampling.BICUBIC), (100, 330))
    region = segment_page(array(image))
    assert len(region.lines) == 10
    assert "photograph" in region.warnings[0]


@pytest.mark.parametrize("colour", ["white", "black", "#808080"])
def test_an_even_image_has_no_text(colour):
    region = segment_page(array(page(colour=colour)))
    assert region.blocks == ()
    assert region.warnings == ()
    assert region.polygon == ((0, 0), (640, 0), (640, 480), (0, 480))


def test_specks_are_no_lines():
    image = array(text_page()).copy()
    places = np.random.default_rng(1).integers(0, [480, 640], (400, 2))
    image[places[:, 0], places[:, 1]] = 0
    assert len(segment_page(image).lines) == 10


def test_black_margins_are_no_text():
    image = page(760, 600, "black")
    image.paste(text_page(), (40, 70))
    assert len(segment_page(array(image)).lines) == 10


def test_small_print_is_enlarged():
    image = page(300, 120)
    paragraph(image, 20, 20, 4, size=9)
    lines = segment_page(array(image)).lines
    assert len(lines) == 4
    assert all(line.pixels.shape[0] >= 32 for line in lines)


def test_two_sizes_of_text_are_found_on_one_page():
    image = page(760, 480)
    write(image, 40, 40, sentence(0, 3), 60)
    paragraph(image, 40, 150, 8, size=12)
    assert len(segment_page(array(image)).lines) == 9


def test_a_crop_is_what_its_polygon_encloses():
    turned = array(text_page().rotate(5, expand=True, resample=Image.Resampling.BICUBIC, fillcolor="white"))
    for line in segment_page(turned).lines:
        height, width = line.pixels.shape
        corners = np.array([(0, 0), (width, 0), (0, height)], np.float32) - 0.5
        places = np.array([line.polygon[0], line.polygon[1], line.polygon[3]], np.float32) - 0.5
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        same = cv2.warpAffine(turned, cv2.getAffineTransform(corners, places), (width, height), flags=flags)
        assert np.abs(same.mean(axis=2) - line.pixels).mean() < 16
        assert np.corrcoef(same.mean(axis=2).ravel(), line.pixels.ravel())[0, 1] > 0.9


def test_the_same_image_gives_the_same_regions():
    image = array(text_page())
    one, other = segment_page(image), segment_page(image.copy())
    assert one == other
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(one.lines, other.lines, strict=True))


def test_the_image_stays_as_it_was():
    image = array(text_page()).copy()
    before = image.copy()
    image.setflags(write=False)
    segment_page(image)
    assert np.array_equal(image, before)


@given(st.integers(1, 70), st.integers(1, 70), st.data())
def test_every_image_has_a_region(height, width, data):
    image = data.draw(arrays(np.uint8, (height, width, 3), elements=st.sampled_from([0, 90, 200, 255])))
    for line in segment_page(image).lines:
        assert line.pixels.dtype == np.uint8
        assert line.pixels.size


@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (4000, 1), (2, 2), (33, 5)])
def test_extreme_shapes_have_a_region(shape):
    image = np.random.default_rng(2).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert segment_page(image).blocks == ()


def test_ten_thousand_specks_are_bounded():
    image = np.full((1000, 1000, 3), 255, np.uint8)
    places = np.random.default_rng(3).integers(0, 999, (10_000, 2))
    image[places[:, 0], places[:, 1]] = 0
    assert len(segment_page(image).lines) < 50


def test_the_record_names_the_segmenter():
    assert (PAGES.name, PAGES.segmenter, PAGES.protocol) == ("pages", segment_page, 2)


def test_the_core_does_not_load_the_image_library():
    code = "import sys, vedcore; sys.exit('cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
