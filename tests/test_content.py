"""What an image looks like before it is read, tested on drawn lines, pages and papers, and on a scene of many tones."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from vedcore.vision import load_image
from vedcore.vision.content import Pixels, content_of

EXAMPLES = Path(__file__).parents[1] / "examples" / "images"
TEXT = "The clocks were striking thirteen and a quick brown fox jumped over No. 7: 49,90 (gegen Bühne) = 12 - 3"
WORDS = TEXT.split()
PAPER, INK = 235, 30


def text_rows(
    rows: int, *, words: int = 6, size: int = 22, pitch: float = 1.5, margin: int = 12, columns: int = 1
) -> Image.Image:
    """A grey image of rows of text, one above another, in columns."""
    font = ImageFont.load_default(size=size)
    texts = [" ".join(WORDS[(3 * row + at) % len(WORDS)] for at in range(words)) for row in range(rows)]
    width = round(max(font.getlength(text) for text in texts)) + margin
    height = round(pitch * size)
    image = Image.new("L", (columns * width + margin, rows * height + 2 * margin), PAPER)
    draw = ImageDraw.Draw(image)
    for column in range(columns):
        for row, text in enumerate(texts):
            draw.text((margin + column * width, margin + row * height), text, font=font, fill=INK)
    return image


def pixels_of(image: Image.Image) -> Pixels:
    return np.asarray(image.convert("RGB"))


def grainy(pixels: Pixels, deviation: float) -> Pixels:
    noise = np.random.default_rng(0).normal(0, deviation, pixels.shape[:2])
    return np.clip(pixels + noise[..., None], 0, 255).astype(np.uint8)


def shaded(pixels: Pixels) -> Pixels:
    """With less light towards the lower right corner."""
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    light = 1 - 0.35 * x / pixels.shape[1] - 0.2 * y / pixels.shape[0]
    dimmed: Pixels = (pixels * light[..., None]).astype(np.uint8)
    return dimmed


def as_jpeg(pixels: Pixels, quality: int) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def scene(height: int, width: int) -> Pixels:
    """Hills of many sizes and colours: like a photograph, without paper and with all tones."""
    random = np.random.default_rng(3)
    total = np.zeros((height, width, 3))
    for octave in (2, 4, 8, 16, 32):
        coarse = Image.fromarray(random.integers(0, 256, (octave, octave, 3), dtype=np.uint8))
        total += np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float64) / octave**0.5
    total -= total.min()
    tones: Pixels = (total * (255 / total.max())).astype(np.uint8)
    return tones


CONDITIONS: dict[str, Callable[[Pixels], Pixels]] = {
    "as it is": lambda pixels: pixels,
    "light on dark": lambda pixels: 255 - pixels,
    "red on white": lambda pixels: np.stack(
        [np.full_like(pixels[..., 0], 220), pixels[..., 1], pixels[..., 2]], axis=2
    ),
    "grain": lambda pixels: grainy(pixels, 20),
    "shade": shaded,
    "jpeg": lambda pixels: as_jpeg(pixels, 30),
    "shade, grain and jpeg": lambda pixels: as_jpeg(grainy(shaded(pixels), 10), 40),
}


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("words", [1, 2, 6, 18])
def test_a_line_is_a_line(words: int, condition: str) -> None:
    assert content_of(CONDITIONS[condition](pixels_of(text_rows(1, words=words)))).kind == "line"


@pytest.mark.parametrize("size", [10, 40, 120, 300])
def test_a_line_in_small_or_large_type_is_a_line(size: int) -> None:
    assert content_of(pixels_of(text_rows(1, words=3, size=size))).kind == "line"


@pytest.mark.parametrize("text", ["S", "E", "=", ":::::", "EEE===", "88 B 88", "- - - -", "gÄÖÜ", "%", "..."])
@pytest.mark.parametrize("margin", [2, 150])
def test_a_word_of_odd_shapes_is_a_line(text: str, margin: int) -> None:
    font = ImageFont.load_default(size=90)
    left, top, right, bottom = (round(side) for side in font.getbbox(text))
    image = Image.new("L", (right - left + 2 * margin, bottom - top + 2 * margin), PAPER)
    ImageDraw.Draw(image).text((margin - left, margin - top), text, font=font, fill=INK)
    assert content_of(pixels_of(image)).kind == "line"


def test_a_line_in_a_box_with_rulings_is_a_line() -> None:
    image = text_rows(1, margin=20)
    draw = ImageDraw.Draw(image)
    draw.rectangle((4, 4, image.width - 5, image.height - 5), outline=INK, width=3)
    for y in (10, image.height - 22, image.height - 12):
        draw.line((8, y, image.width - 9, y), fill=INK, width=2)
    assert content_of(pixels_of(image)).kind == "line"


def test_a_line_between_remains_of_its_neighbours_is_a_line() -> None:
    three = text_rows(3)
    pitch = 33
    between = three.crop((0, 12 + pitch - 12, three.width, 12 + 2 * pitch + 14))
    assert content_of(pixels_of(between)).kind == "line"


def test_a_tilted_line_is_a_line() -> None:
    tilted = text_rows(1, words=12).rotate(3, expand=True, fillcolor=PAPER, resample=Image.Resampling.BICUBIC)
    assert content_of(pixels_of(tilted)).kind == "line"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.[pj]*g")), ids=lambda path: path.name)
def test_the_example_images_are_lines(path: Path) -> None:
    assert content_of(np.asarray(load_image(path))).kind == "line"


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("rows", [4, 25])
def test_rows_of_text_are_a_page(rows: int, condition: str) -> None:
    content = content_of(CONDITIONS[condition](pixels_of(text_rows(rows))))
    assert content.kind == "page"
    assert content.evidence in [f"about {count} lines of text" for count in (rows - 1, rows, rows + 1)]


@pytest.mark.parametrize("angle", [-2, 2, 180])
def test_a_turned_page_is_a_page(angle: int) -> None:
    turned = text_rows(20).rotate(angle, expand=True, fillcolor=PAPER, resample=Image.Resampling.BICUBIC)
    assert content_of(pixels_of(turned)).kind == "page"


@pytest.mark.parametrize(("rows", "words", "size", "columns"), [(30, 8, 12, 2), (60, 10, 40, 1), (9, 2, 16, 1)])
def test_columns_large_scans_and_narrow_receipts_are_pages(rows: int, words: int, size: int, columns: int) -> None:
    assert content_of(pixels_of(text_rows(rows, words=words, size=size, columns=columns))).kind == "page"


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("shape", [(40, 300), (700, 500), (30, 60), (1, 1), (2, 900)])
def test_one_tone_is_blank(shape: tuple[int, int], level: int) -> None:
    assert content_of(np.full((*shape, 3), level, dtype=np.uint8)).kind == "blank"


@pytest.mark.parametrize("shape", [(0, 0), (0, 40), (40, 0)])
def test_no_pixels_are_blank(shape: tuple[int, int]) -> None:
    assert content_of(np.zeros((*shape, 3), dtype=np.uint8)).kind == "blank"


@pytest.mark.parametrize("condition", [name for name in CONDITIONS if "and" not in name])
@pytest.mark.parametrize("shape", [(60, 900), (700, 500)])
def test_paper_that_is_shaded_grainy_or_compressed_is_blank(shape: tuple[int, int], condition: str) -> None:
    assert content_of(CONDITIONS[condition](np.full((*shape, 3), PAPER, dtype=np.uint8))).kind == "blank"


def test_a_scene_of_many_tones_is_a_photograph() -> None:
    content = content_of(scene(480, 640))
    assert (content.kind, content.evidence) == ("photograph", "many tones and no paper")


def test_a_scene_as_oblong_as_a_line_is_not_called_a_photograph() -> None:
    assert content_of(scene(120, 640)).kind == "line"


@given(st.integers(0, 90), st.integers(0, 90), st.integers(0, 2**32 - 1), st.integers(1, 255))
def test_every_image_looks_like_something(height: int, width: int, seed: int, levels: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, levels, (height, width, 3), dtype=np.uint8)
    before = pixels.copy()
    assert content_of(pixels).kind in {"blank", "line", "page", "photograph"}
    assert np.array_equal(pixels, before)
