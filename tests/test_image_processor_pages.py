"""The image processors of Donut and Nougat give the pixel values of the Pillow backend of transformers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vedcore import ConfigError, ImageError, ImageProcessor

KINDS = ("DonutImageProcessor", "NougatImageProcessor")


def photo(width, height, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def page(width, height, seed=0):
    """Ink on paper with a margin, which may have width 0."""
    chance = np.random.default_rng(seed)
    pixels = chance.integers(225, 256, (height, width, 3), dtype=np.uint8)
    top, left = chance.integers(0, height // 2 + 1), chance.integers(0, width // 2 + 1)
    inner = pixels[top : height - top // 2, left : width - left // 3]
    inner[:] = np.where(chance.random(inner.shape[:2])[..., None] < 0.3, chance.integers(0, 90), inner)
    return Image.fromarray(pixels)


def reference(kind, **fields):
    import transformers

    return getattr(transformers, kind + "Pil")(**fields)


SIDES = st.integers(1, 70)
FIELDS = st.fixed_dictionaries(
    {
        "size": st.one_of(
            st.fixed_dictionaries({"height": SIDES, "width": SIDES}), st.lists(SIDES, min_size=2, max_size=2)
        )
    },
    optional={
        "do_resize": st.sampled_from([True, True, False]),
        "do_thumbnail": st.sampled_from([True, True, False]),
        "do_align_long_axis": st.booleans(),
        "do_pad": st.sampled_from([True, True, None, False]),
        "do_crop_margin": st.booleans(),
        "resample": st.integers(0, 5),
        "do_normalize": st.booleans(),
    },
)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(fields=FIELDS, width=st.integers(1, 150), height=st.integers(1, 150), seed=st.integers(0, 99))
def test_pixel_values_equal_those_of_transformers(kind, fields, width, height, seed):
    if kind == "DonutImageProcessor":
        fields.pop("do_crop_margin", None)
    image = (page if seed % 3 else photo)(width, height, seed)
    ours = ImageProcessor(image_processor_type=kind, **fields)
    try:
        wanted = np.stack(reference(kind, **fields)([image], return_tensors="np").pixel_values)
    except ValueError:  # a side of no pixels, or an image larger than its page
        with pytest.raises(ImageError, match=r"the result would be|does not fit the page"):
            ours(image)
        return
    values = ours(image, return_tensors="np").pixel_values
    assert values.dtype == np.float32
    assert values.shape == wanted.shape
    assert np.abs(values - wanted).max() <= 1e-6
    assert ours.output_size in (None, values.shape[2:])


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_and_files_agree_with_transformers_in_both_directions(kind, tmp_path):
    from transformers import AutoImageProcessor

    silent = ImageProcessor.from_dict({"image_processor_type": kind})
    assert silent == ImageProcessor(image_processor_type=kind)
    assert silent.output_size == tuple(reference(kind).size[side] for side in ("height", "width"))
    ours = ImageProcessor(image_processor_type=kind, size={"height": 60, "width": 40}, do_align_long_axis=True)
    ours.save_pretrained(tmp_path / "a")
    theirs = AutoImageProcessor.from_pretrained(tmp_path / "a")
    assert type(theirs).__name__.startswith(kind)
    theirs.save_pretrained(tmp_path / "b")
    image = page(90, 50)
    wanted = np.stack(theirs([image], return_tensors="np").pixel_values)
    for again in (ours, *(ImageProcessor.from_pretrained(tmp_path / name) for name in "ab")):
        assert np.abs(again(image, return_tensors="np").pixel_values - wanted).max() <= 1e-6
    assert ImageProcessor.from_pretrained(tmp_path / "a") == ours


@pytest.mark.parametrize(
    "data",
    [
        {"feature_extractor_type": "DonutFeatureExtractor", "size": [20, 30]},
        {"image_processor_type": "DonutImageProcessorFast", "size": {"height": 30, "width": 20}},
    ],
)
def test_a_list_in_a_donut_file_is_width_and_height(data, tmp_path):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(data))
    processor = ImageProcessor.from_pretrained(tmp_path)
    assert processor.size == {"height": 30, "width": 20}
    assert processor.output_size == (30, 20)
    processor.size = [40, 50]
    assert processor.size == {"height": 50, "width": 40}
    assert ImageProcessor.from_dict({"image_processor_type": "NougatImageProcessor", "size": [20, 30]}).output_size == (
        20,
        30,
    )


def test_a_page_without_height_and_width_is_an_error():
    for fields in ({"size": {"shortest_edge": 3}}, {"size": None}):
        with pytest.raises(ConfigError, match="size"):
            ImageProcessor(image_processor_type="DonutImageProcessor", **fields)(photo(4, 4))
