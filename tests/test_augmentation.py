"""The random changes to training images."""

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageDraw, ImageOps

from vedcore.vision import Augmentation

PRESET = {**attrs.asdict(Augmentation.usual()), "rotation": 2.0, "jpeg": 50.0}  # the preset has no use for these two
CHANGES = sorted(PRESET.keys() - {"share"})
SHAPES = ("slant", "stretch", "baseline", "stroke", "margin")
INK, PAPER = (40, 30, 20), (230, 220, 210)


def line(width: int = 90, height: int = 30) -> Image.Image:
    """Three letters on paper, with some margin."""
    image = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(image)
    for at in range(3):
        left = 8 + at * (width - 16) // 3
        draw.rectangle((left, 6, left + 9, height - 8), outline=INK, width=3)
    return image


def changed(image: Image.Image, seed: int = 1, **fields: float) -> Image.Image:
    return Augmentation(share=1.0, **fields)(image, np.random.default_rng(seed))


def test_the_preset_has_all_changes_of_shape():
    assert all(attrs.asdict(Augmentation.usual())[change] for change in SHAPES)


def test_a_grey_picture_changes_as_a_coloured_one_does():
    fields = {change: PRESET[change] for change in SHAPES}
    grey = line().convert("L").convert("RGB")
    coloured = Image.merge("RGB", (line().getchannel(0), grey.getchannel(0), grey.getchannel(0)))
    assert _equal(changed(grey, **fields).getchannel(1), changed(coloured, **fields).getchannel(1))


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_alters_the_image_and_only_its_share_of_the_images(change):
    image = line()
    assert changed(image, **{change: PRESET[change]}).mode == "RGB"
    assert not _equal(changed(image, **{change: PRESET[change]}), image)
    assert Augmentation(share=0.0, **{change: PRESET[change]})(image, np.random.default_rng(1)) is image


@pytest.mark.parametrize("change", ["rotation", "blur", "noise", "brightness", "jpeg"])
def test_changes_of_the_camera_keep_the_size(change):
    assert changed(line(), **{change: PRESET[change]}).size == line().size


def test_an_augmentation_depends_only_on_the_image_and_the_generator():
    augment = attrs.evolve(Augmentation.usual(), share=1.0)
    one, same, other = (augment(line(), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert _equal(one, same)
    assert not _equal(one, other)


def test_changes_of_shape_that_are_off_draw_no_random_numbers():
    random = np.random.default_rng(1)
    Augmentation()(line(), random)
    assert random.random() == np.random.default_rng(1).random(11)[-1]  # two for each of the other five changes


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 99), size=st.tuples(st.integers(1, 90), st.integers(1, 40)), change=st.sampled_from(SHAPES))
def test_changes_of_shape_invent_no_colour(seed, size, change):
    """The colours of the result are mixtures of ink and paper, so the new pixels are paper, and blank paper stays blank."""
    image = Image.new("RGB", size, PAPER)
    assert changed(image, seed, **{change: 0.5}).getcolors() == [(_area(changed(image, seed, **{change: 0.5})), PAPER)]
    found = np.asarray(changed(line(), seed, **{change: PRESET[change]}))
    assert (found.min() >= min(INK), found.max() <= max(PAPER)) == (True, True)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 99), change=st.sampled_from(["slant", "stretch", "baseline", "margin"]))
def test_changes_of_shape_cut_no_ink_off(seed, change):
    image = line()
    found = changed(image, seed, **{change: 2 * PRESET[change]})
    assert _ink(found) == pytest.approx(_ink(image), rel=0.5 if change == "stretch" else 0.1)
    edge = np.concatenate([np.asarray(found)[[0, -1]].reshape(-1, 3), np.asarray(found)[:, [0, -1]].reshape(-1, 3)])
    assert (edge == PAPER).all()  # as in the original


@pytest.mark.parametrize("change", [change for change in SHAPES if change != "stroke"])
def test_light_text_on_dark_changes_as_dark_text_on_light_does(change):
    fields = {change: PRESET[change]}
    inverted = ImageOps.invert(changed(ImageOps.invert(line()), **fields))
    assert ImageChops.difference(inverted, changed(line(), **fields)).getextrema() <= ((0, 1),) * 3


def test_strokes_become_thicker_and_thinner():
    amounts = [_ink(changed(line(), seed, stroke=0.03)) for seed in range(20)]
    assert min(amounts) < 0.9 * _ink(line())
    assert max(amounts) > 1.1 * _ink(line())
    assert {_ink(changed(line(), seed, stroke=0.2)) for seed in range(9)} & {0.0}  # far too strong: all ink is gone


def test_a_rotation_fills_the_corners_with_the_colour_of_the_paper():
    image = Image.new("RGB", (40, 20), (10, 20, 30))
    turned = changed(image, rotation=45.0)
    assert np.abs(np.asarray(turned).astype(int) - [10, 20, 30]).max() <= 1


def _equal(one: Image.Image, other: Image.Image) -> bool:
    return one.size == other.size and one.tobytes() == other.tobytes()


def _area(image: Image.Image) -> int:
    return image.width * image.height


def _ink(image: Image.Image) -> float:
    """How many pixels of full ink the image has."""
    share = (PAPER[0] - np.asarray(image)[..., 0].astype(float)) / (PAPER[0] - INK[0])
    return float(share.sum())
