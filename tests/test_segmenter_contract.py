"""The contract of a segmenter passes a right one and finds each planted fault."""

import itertools
import re

import numpy as np
import pytest

from vedcore import BlockRegion, LineRegion, PageRegion, Segmenter
from vedcore.testing import SegmenterContract
from vedcore.testing.checks.base import LawBroken


def segment(image, *, clockwise=True, outside=0.0, dtype=np.uint8, stretch=1, corners=4):
    """One block with one line around all pixels that differ from the first by more than 100."""
    height, width = image.shape[:2]
    paper = polygon_of(0, 0, width, height)
    ink = np.argwhere(np.abs(image[..., 0].astype(int) - int(image[0, 0, 0])) > 100)
    if not len(ink):
        return PageRegion(paper)
    (top, left), (bottom, right) = ink.min(axis=0), ink.max(axis=0) + 1
    polygon = polygon_of(left, top, right + outside * width, bottom)
    polygon = polygon if clockwise else polygon[::-1]
    pixels = np.repeat(image[top:bottom, left:right], stretch, axis=1).astype(dtype)
    line = LineRegion(polygon[:corners], pixels)
    return PageRegion(paper, (BlockRegion(paper, (line,)),))


def polygon_of(left, top, right, bottom):
    left, top, right, bottom = map(float, (left, top, right, bottom))
    return ((left, top), (right, top), (right, bottom), (left, bottom))


PAGE = np.full((60, 200, 3), 255, np.uint8)
PAGE[20:40, 30:170:3] = 0


def contract(function):
    class Contract(SegmenterContract):
        record = Segmenter(name="mine", segmenter=function, protocol=2)
        pages = (PAGE,)

    return Contract()


LAWS = [name for name in dir(SegmenterContract) if name.startswith("test_") and "entry_point" not in name]


def broken_laws(function):
    """The laws that a segmenter breaks, with the reason."""
    subject, found = contract(function), {}
    for law in LAWS:
        try:
            getattr(subject, law)()
        except (LawBroken, AttributeError) as error:
            found[law] = str(error)
    return found


def test_a_right_segmenter_passes():
    assert broken_laws(segment) == {}


def test_an_entry_point_that_is_missing_is_found():
    with pytest.raises(LawBroken, match=r"no entry point 'segmenter\.mine' of vedcore\.plugins is installed"):
        contract(segment).test_the_entry_point_has_the_kind_and_the_name()


def changed(image):
    image[0, 0] = 7
    return segment(image)


def different(image, counter=itertools.count()):  # noqa: B008 (one counter for all calls)
    page = segment(image)
    return PageRegion(page.polygon, page.blocks, (f"call {next(counter)}",))


def one_line(image):
    polygon = polygon_of(0, 0, *image.shape[1::-1])
    return PageRegion(polygon, (BlockRegion(polygon, (LineRegion(polygon, image),)),))


FAULTS = {
    "no page": (lambda image: segment(image).blocks, "a segmenter returns a PageRegion, got tuple"),
    "outside": (lambda image: segment(image, outside=1.0), "is outside the image of"),
    "counterclockwise": (lambda image: segment(image, clockwise=False), "the corners go round counterclockwise"),
    "three corners": (lambda image: segment(image, corners=3), "a line has four corners"),
    "float pixels": (lambda image: segment(image, dtype=np.float32), "pixels are uint8, got float32"),
    "stretched": (lambda image: segment(image, stretch=2), "do not have the proportions of the polygon"),
    "no lines": (lambda image: PageRegion(polygon_of(0, 0, *image.shape[1::-1])), r"no line on pages\[0\]"),
    "changed image": (changed, "the segmenter has changed the image"),
    "different": (different, "the regions differ from those of an earlier call"),
    "empty block": (
        lambda image: PageRegion(segment(image).polygon, (BlockRegion(segment(image).polygon, ()),)),
        "a block has no lines; leave it out",
    ),
    "lines on blank paper": (
        one_line,
        "1 lines on an image that is grey level 255 everywhere",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(name):
    function, reason = FAULTS[name]
    found = broken_laws(function)
    assert found, f"{name} is not found"
    assert any(re.search(reason, message) for message in found.values()), found


def test_an_error_for_a_tiny_image_is_found():
    def fails(image):
        if min(image.shape[:2]) < 3:
            raise ValueError("too small")
        return segment(image)

    with pytest.raises(ValueError, match="too small"):
        contract(fails).test_every_image_has_valid_regions()
