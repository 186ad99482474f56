"""Time and memory are bounded by the number of pixels, whatever the image shows; no test here needs a clock."""

import sys
import tracemalloc
from collections import Counter

import cv2
import numpy as np
import pytest

from vedcore_plugin_pages import segment_page, segmenter

SIDES = (160, 320)
"""Images of which the second has four times as many pixels."""
BYTES_PER_PIXEL = 120
CALLS_PER_PIXEL = 4


def specks(side, share, width=2):
    """Black squares on white, ``share`` of them per pixel."""
    image = np.full((side, side), 255, np.uint8)
    places = np.random.default_rng(0).integers(0, side - width, (int(side * side * share), 2))
    for down in range(width):
        for right in range(width):
            image[places[:, 0] + down, places[:, 1] + right] = 0
    return image


def letters(side):
    """Dense rows of small marks of unlike width, as many as can be told from each other."""
    image = np.full((side, side), 255, np.uint8)
    widths = np.random.default_rng(1).integers(2, 7, side * side // 60)
    index = 0
    for top in range(4, side - 8, 10):
        left = 4
        while left < side - 10:
            image[top : top + 6, left : left + int(widths[index])] = 0
            left += int(widths[index]) + 2
            index += 1
    return image


def halftone(side):
    down, right = np.mgrid[:side, :side]
    shade = 1.5 * np.sin(right / 100) * np.cos(down / 70)
    return np.where(np.sin(right / 2.0) + np.sin(down / 2.0) + shade > 0, 255, 0).astype(np.uint8)


def stripes(side):
    image = np.full((side, side), 255, np.uint8)
    image[:, ::4] = 0
    return image


IMAGES = {
    "black": lambda side: np.zeros((side, side), np.uint8),
    "few specks": lambda side: specks(side, 0.01),
    "many specks": lambda side: specks(side, 0.1),
    "blots": lambda side: specks(side, 0.001, 9),
    "letters": letters,
    "halftone": halftone,
    "stripes": stripes,
    "noise": lambda side: np.random.default_rng(2).integers(0, 256, (side, side), dtype=np.uint8),
}


def rgb(grey):
    return np.repeat(grey[:, :, None], 3, axis=2)


@pytest.fixture(autouse=True)
def one_thread():
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


def usage(image):
    """The most bytes that arrays take at once, and the number of calls of functions."""
    calls = Counter()
    tracemalloc.start()
    sys.setprofile(lambda frame, event, argument: calls.update([event]))
    try:
        segment_page(image)
        return tracemalloc.get_traced_memory()[1], calls["call"] + calls["c_call"]
    finally:
        sys.setprofile(None)
        tracemalloc.stop()


@pytest.mark.parametrize("name", IMAGES)
def test_memory_and_calls_grow_no_faster_than_the_number_of_pixels(name):
    used = np.array([usage(rgb(IMAGES[name](side))) for side in SIDES])
    per_pixel = used / np.square(SIDES)[:, None]
    assert (per_pixel < [BYTES_PER_PIXEL, CALLS_PER_PIXEL]).all()
    assert (per_pixel[1] < 2 * per_pixel[0]).all()  # with a square law it would be four times


def test_marks_and_runs_have_a_greatest_number(monkeypatch):
    counts = []

    def counted(function):
        def call(*arguments):
            result = function(*arguments)
            counts.append(len(result) if isinstance(result, list) else len(result.boxes))
            return result

        return call

    for name in ("find_components", "find_lines"):
        monkeypatch.setattr(segmenter, name, counted(getattr(segmenter, name)))
    segment_page(rgb(specks(1000, 0.1)))
    assert max(counts) <= 60_000
    assert counts[-1] <= 4_000


def test_lines_are_found_in_a_copy_of_bounded_size(monkeypatch):
    sizes = []

    def measured(grey):
        sizes.append(grey.size)
        return found(grey)

    found = segmenter.find_components
    monkeypatch.setattr(segmenter, "find_components", measured)
    for shape in ((4000, 4000), (600, 30_000), (30_000, 600)):
        segment_page(np.broadcast_to(np.uint8(255), (*shape, 3)))
    assert max(sizes) < 8_100_000


@pytest.mark.parametrize("name", ["black", "few specks", "many specks", "stripes", "noise"])
def test_what_is_not_text_has_no_lines(name):
    assert segment_page(rgb(IMAGES[name](600))).lines == ()


def test_a_word_in_a_drawing_is_found():
    image = np.full((300, 400), 255, np.uint8)
    cv2.circle(image, (190, 150), 120, 0, 6)
    cv2.putText(image, "Exit", (120, 165), cv2.FONT_HERSHEY_SIMPLEX, 2, 0, 4)
    assert len(segment_page(rgb(image)).lines) == 1


def test_a_word_among_specks_is_found():
    image = specks(400, 0.002, 1)
    cv2.putText(image, "Hello", (100, 200), cv2.FONT_HERSHEY_SIMPLEX, 1, 0, 2)
    assert len(segment_page(rgb(image)).lines) == 1
