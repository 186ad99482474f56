"""Images become the pixel values that the Pillow backend of transformers gives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file

from tests.test_image_processor_pages import page
from vedcore import CheckpointNotFound, ConfigError, ImageError, ImageProcessor

GOLDEN = Path(__file__).parent / "golden" / "lines"
LINE_READER = {
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_processor_type": "ViTImageProcessor",
    "image_std": [0.5, 0.5, 0.5],
    "resample": 2,
    "rescale_factor": 0.00392156862745098,
    "size": {"height": 32, "width": 256},
}
TYPES = ("ViTImageProcessor", "DeiTImageProcessor", "BeitImageProcessor")


def photo(width, height, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def reference(kind, **fields):
    import transformers

    return getattr(transformers, kind + "Pil")(**fields)


def theirs(processor, images):
    return np.stack(processor(images, return_tensors="np").pixel_values)


def assert_same(ours, expected):
    assert ours.dtype == np.float32
    assert ours.shape == expected.shape
    assert np.abs(ours - expected).max() <= 1e-6


def sides(largest):
    side = st.integers(1, largest)
    return st.fixed_dictionaries({"height": side, "width": side})


def sizes():
    shortest = st.fixed_dictionaries({"shortest_edge": st.integers(1, 30)})
    both = st.fixed_dictionaries({"shortest_edge": st.integers(1, 30), "longest_edge": st.integers(8, 60)})
    return st.one_of(sides(40), shortest, both, st.integers(1, 40), st.tuples(st.integers(1, 40), st.integers(1, 40)))


CHANNELS = st.tuples(*[st.floats(0.05, 1)] * 3).map(list)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "do_resize": st.sampled_from([True, True, True, False]),
        "size": sizes(),
        "resample": st.integers(0, 5),
        "do_center_crop": st.booleans(),
        "crop_size": st.one_of(sides(40), st.integers(1, 40)),
        "do_rescale": st.booleans(),
        "rescale_factor": st.floats(0.001, 0.01),
        "do_normalize": st.booleans(),
        "image_mean": CHANNELS,
        "image_std": CHANNELS,
    },
)


@pytest.mark.parametrize("kind", TYPES)
@settings(max_examples=30, deadline=None, derandomize=True)
@given(data=st.data())
def test_pixel_values_equal_those_of_transformers(kind, data):
    fields = data.draw(FIELDS)
    fields.setdefault("size", 24)  # the default of 224 takes longer and tests nothing more
    fields.setdefault("crop_size", 20)
    image = photo(data.draw(st.integers(1, 60)), data.draw(st.integers(1, 60)))
    expected = reference(kind, **fields)
    ours = ImageProcessor(image_processor_type=kind, **fields)
    try:
        wanted = theirs(expected, [image])
    except ValueError:  # a side of no pixels
        with pytest.raises(ImageError, match="the result would be"):
            ours(image)
        return
    assert_same(ours([image], return_tensors="np").pixel_values, wanted)
    assert_same(ours(image).pixel_values.numpy(), wanted)
    assert ours.output_size in (None, wanted.shape[2:])


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("ViTImageProcessor", {"size": 24}),
        ("ViTImageProcessor", {"size": {"height": 9, "width": 31}, "resample": 3}),
        ("DeiTImageProcessor", {"size": 36, "crop_size": 32}),
        ("BeitImageProcessor", {"size": {"shortest_edge": 20}, "crop_size": 32, "do_center_crop": True}),
        ("DonutImageProcessor", {"size": {"height": 40, "width": 30}, "do_align_long_axis": True}),
        ("NougatImageProcessor", {"size": {"height": 40, "width": 30}}),
    ],
)
def test_images_of_two_hundred_sizes_give_the_pixels_of_transformers(kind, fields):
    expected, ours = reference(kind, **fields), ImageProcessor(image_processor_type=kind, **fields)
    draw = photo if kind in TYPES else page
    for seed, (width, height) in enumerate(np.random.default_rng(5).integers(1, 121, (200, 2)).tolist()):
        image = draw(width, height, seed)
        try:
            wanted = theirs(expected, [image])
        except ValueError:  # a side of no pixels
            with pytest.raises(ImageError, match="the result would be"):
                ours(image)
            continue
        assert_same(ours(image, return_tensors="np").pixel_values, wanted)


@pytest.mark.parametrize("kind", TYPES)
def test_defaults_are_those_of_the_type(kind):
    assert_same(
        ImageProcessor(image_processor_type=kind)(photo(300, 200), return_tensors="np").pixel_values,
        theirs(reference(kind), [photo(300, 200)]),
    )
    silent = ImageProcessor.from_dict({"image_processor_type": kind})
    assert silent == ImageProcessor(image_processor_type=kind)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (2, 3)])
def test_extreme_shapes_give_the_pixels_of_transformers(shape):
    image = photo(*shape)
    for size in (32, {"shortest_edge": 3}, {"shortest_edge": 3, "longest_edge": 9}):
        for crop in (None, 5):
            fields = {"size": size, "crop_size": crop, "do_center_crop": crop is not None}
            try:
                wanted = theirs(reference("ViTImageProcessor", **fields), [image])
            except ValueError:  # a side of no pixels
                with pytest.raises(ImageError, match="the result would be"):
                    ImageProcessor(**fields)(image)
                continue
            assert_same(ImageProcessor(**fields)(image, return_tensors="np").pixel_values, wanted)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    shape=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    shortest=st.integers(1, 40),
    longest=st.integers(1, 60),
)
def test_longest_edge_bounds_the_shape_as_in_transformers(shape, shortest, longest):
    size = {"shortest_edge": shortest, "longest_edge": longest}
    image = photo(*shape)
    try:
        wanted = theirs(reference("ViTImageProcessor", size=size), [image])
    except ValueError:
        with pytest.raises(ImageError, match="the result would be"):
            ImageProcessor(size=size)(image)
        return
    assert_same(ImageProcessor(size=size)(image, return_tensors="np").pixel_values, wanted)


def test_golden_lines_have_the_stored_pixels():
    processor = ImageProcessor.from_dict(LINE_READER)
    expected = load_file(GOLDEN / "tensors.safetensors")["pixel_values"]
    paths = [GOLDEN / entry["file"] for entry in json.loads((GOLDEN / "expected.json").read_text())]
    ours = processor(paths[: len(expected)]).pixel_values
    assert ours.shape == (16, 3, 32, 256)
    assert (ours - expected).abs().max() <= 1e-6
    assert processor.output_size == (32, 256)


def test_alpha_is_composited_as_transformers_does_with_do_convert_rgb():
    image = photo(20, 20).convert("RGBA")
    image.putalpha(photo(20, 20, seed=1).convert("L"))
    wanted = theirs(reference("ViTImageProcessor", do_convert_rgb=True, size=12), [image])
    assert_same(ImageProcessor(size=12)(image, return_tensors="np").pixel_values, wanted)


def test_every_type_of_source_gives_the_same_pixels(tmp_path):
    processor = ImageProcessor(size=8)
    images = [photo(9, 7), photo(5, 6, seed=1)]
    expected = processor(images).pixel_values
    assert expected.shape == (2, 3, 8, 8)
    assert expected.dtype == torch.float32
    paths = [tmp_path / f"{index}.png" for index in range(2)]
    for image, path in zip(images, paths, strict=True):
        image.save(path)
    for given_ in (tuple(images), paths, [path.read_bytes() for path in paths], [np.asarray(i) for i in images]):
        assert torch.equal(processor(given_).pixel_values, expected)
    assert torch.equal(processor(images=images[0]).pixel_values, expected[:1])
    batch = np.stack([np.asarray(photo(9, 7)), np.asarray(photo(9, 7, seed=1))])
    assert torch.equal(processor(batch).pixel_values, processor(list(batch)).pixel_values)
    tensor = torch.from_numpy(batch).permute(0, 3, 1, 2)
    assert torch.equal(processor(tensor).pixel_values, processor(list(batch)).pixel_values)
    floats = tensor.float() / 255
    assert torch.equal(processor(floats).pixel_values, processor(list(batch)).pixel_values)


def test_unequal_processed_sizes_are_an_error():
    processor = ImageProcessor(size={"shortest_edge": 8})
    assert processor.output_size is None
    with pytest.raises(ImageError, match=r"found 8 x 16, 16 x 8 \(height x width\)"):
        processor([photo(20, 10), photo(10, 20)])


def test_an_error_in_a_list_names_the_index(tmp_path):
    with pytest.raises(ImageError, match=r"images\[1\]: .*gone.png: no such file") as caught:
        ImageProcessor()([photo(4, 4), tmp_path / "gone.png"])
    assert caught.value.file == str(tmp_path / "gone.png")
    with pytest.raises(ImageError, match=r"gone.png: no such file") as caught:
        ImageProcessor()(tmp_path / "gone.png")
    assert "images[" not in str(caught.value)
    with pytest.raises(ImageError, match="empty list"):
        ImageProcessor()([])
    with pytest.raises(ConfigError, match="return_tensors must be 'pt' or 'np', got 'tf'"):
        ImageProcessor()(photo(4, 4), return_tensors="tf")


@pytest.mark.parametrize(
    "fields",
    [
        {"size": {"height": 100_000, "width": 100_000}},
        {"size": {"shortest_edge": 100_000}},
        {"do_center_crop": True, "crop_size": 100_000},
    ],
)
def test_no_number_in_a_file_allocates_unbounded_memory(fields):
    with pytest.raises(ImageError, match="the result would be"):
        ImageProcessor(**fields)(photo(4, 4))


# Files.


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, {}),
        ({"size": 384}, {"size": {"height": 384, "width": 384}}),
        ({"size": [32, 64]}, {"size": {"height": 32, "width": 64}}),
        ({"size": {"shortest_edge": 3, "longest_edge": None}}, {"size": {"shortest_edge": 3}}),
        ({"image_processor_type": "ViTImageProcessorFast"}, {}),
        ({"image_processor_type": "ViTImageProcessorPil"}, {}),
        ({"image_processor_type": None}, {}),
        ({"feature_extractor_type": "ViTFeatureExtractor"}, {}),
        (
            {"feature_extractor_type": "DeiTFeatureExtractor", "size": 384, "do_center_crop": False},
            {"image_processor_type": "DeiTImageProcessor", "size": 384, "do_center_crop": False},
        ),
        (
            {"feature_extractor_type": "DeiTFeatureExtractor", "image_processor_type": "ViTImageProcessor"},
            {"image_processor_type": "ViTImageProcessor"},
        ),
        ({"image_mean": 0.25}, {"image_mean": (0.25, 0.25, 0.25)}),
        ({"do_resize": None}, {"do_resize": None}),
    ],
)
def test_every_published_form_of_the_file_is_read(data, expected):
    assert ImageProcessor.from_dict(data) == ImageProcessor(**expected)


def test_null_switches_a_default_off_and_a_missing_field_does_not():
    null = ImageProcessor.from_dict({"image_processor_type": "DeiTImageProcessor", "do_center_crop": None})
    assert null.output_size == (256, 256)
    assert ImageProcessor.from_dict({"image_processor_type": "DeiTImageProcessor"}).output_size == (224, 224)
    assert ImageProcessor.from_dict(null.to_dict()) == null


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("do_resize", "false"),
        ("do_rescale", 1),
        ("size", "224"),
        ("size", 0),
        ("size", True),
        ("size", {"height": 3}),
        ("size", {"height": 3, "width": 2.5}),
        ("size", [1, 2, 3]),
        ("crop_size", {"shortest_edge": 3}),
        ("resample", 6),
        ("resample", True),
        ("resample", "bicubic"),
        ("rescale_factor", "1"),
        ("image_mean", [0.5]),
        ("image_mean", [0.5, 0.5, "x"]),
        ("image_std", [0.5, 0, 0.5]),
        ("image_std", 0),
        ("image_processor_type", 3),
    ],
)
def test_a_bad_field_is_named_when_read_passed_or_assigned(field, value):
    with pytest.raises(ConfigError, match=rf"^some\.json: .*{field}") as caught:
        ImageProcessor.from_dict({field: value}, "some.json", file="some.json")
    assert (caught.value.file, caught.value.field, caught.value.found) == ("some.json", field, value)
    with pytest.raises(ConfigError, match=field):
        ImageProcessor(**{field: value})
    processor = ImageProcessor()
    with pytest.raises(ConfigError, match=field):
        setattr(processor, field, value)
    assert processor == ImageProcessor()


@pytest.mark.parametrize("kind", ["CLIPImageProcessor"])
def test_an_unsupported_type_is_named_with_the_supported_ones(kind):
    with pytest.raises(ConfigError, match=f"'{kind}' is not supported; supported: ViT.*DeiT.*Beit"):
        ImageProcessor.from_dict({"image_processor_type": kind})


@pytest.mark.parametrize(
    ("field", "by"), [("size", "do_resize"), ("image_mean", "do_normalize"), ("rescale_factor", "do_rescale")]
)
def test_a_step_without_its_setting_is_an_error(field, by):
    with pytest.raises(ConfigError, match=f"{by} is set, but {field} is null"):
        ImageProcessor(**{field: None})(photo(4, 4))


def test_a_null_filter_is_bilinear():
    image = photo(30, 20)
    nulled = ImageProcessor(image_processor_type="DeiTImageProcessor", resample=None)
    assert torch.equal(
        nulled(image).pixel_values,
        ImageProcessor(image_processor_type="DeiTImageProcessor", resample=2)(image).pixel_values,
    )


def test_an_enum_of_pillow_is_written_as_its_number():
    assert json.dumps(ImageProcessor(resample=Image.Resampling.LANCZOS).to_dict()["resample"]) == "1"


@settings(max_examples=25, deadline=None, derandomize=True)
@given(kind=st.sampled_from(TYPES), fields=FIELDS)
def test_a_processor_survives_to_dict_and_json(kind, fields):
    processor = ImageProcessor.from_dict({"image_processor_type": kind, "unknown": [1], **fields})
    assert processor.extra == {"unknown": [1]}
    assert ImageProcessor.from_dict(json.loads(json.dumps(processor.to_dict()))) == processor


@pytest.mark.parametrize("kind", TYPES)
def test_transformers_reads_what_is_saved(kind, tmp_path):
    from transformers import AutoImageProcessor

    processor = ImageProcessor(
        image_processor_type=kind, size={"height": 20, "width": 24}, crop_size=18, image_mean=(0.1, 0.2, 0.3)
    )
    processor.extra["processor_class"] = "TrOCRProcessor"
    processor.save_pretrained(tmp_path / "a")
    theirs_ = AutoImageProcessor.from_pretrained(tmp_path / "a")
    assert type(theirs_).__name__.startswith(kind)
    image = photo(40, 30)
    assert_same(processor(image, return_tensors="np").pixel_values, theirs(theirs_, [image]))
    theirs_.save_pretrained(tmp_path / "b")
    again = ImageProcessor.from_pretrained(tmp_path / "b")
    assert ImageProcessor.from_pretrained(tmp_path / "a").extra == processor.extra
    assert torch.equal(again(image).pixel_values, processor(image).pixel_values)
    assert ImageProcessor.from_pretrained(tmp_path / "a") == processor


def write(folder, name, data):
    (folder / name).write_text(json.dumps(data))


def test_processor_config_takes_precedence_and_is_updated_on_save(tmp_path):
    write(tmp_path, "preprocessor_config.json", {"size": 10})
    write(tmp_path, "processor_config.json", {"processor_class": "TrOCRProcessor"})
    assert ImageProcessor.from_pretrained(tmp_path).output_size == (10, 10)
    whole = {"processor_class": "TrOCRProcessor", "image_processor": {"size": 20}}
    write(tmp_path, "processor_config.json", whole)
    processor = ImageProcessor.from_pretrained(tmp_path)
    assert processor.output_size == (20, 20)
    processor.size = {"height": 30, "width": 31}
    processor.save_pretrained(tmp_path)
    assert ImageProcessor.from_pretrained(tmp_path).output_size == (30, 31)
    assert json.loads((tmp_path / "processor_config.json").read_text())["processor_class"] == "TrOCRProcessor"
    (tmp_path / "preprocessor_config.json").unlink()
    assert ImageProcessor.from_pretrained(tmp_path).output_size == (30, 31)


def test_an_error_for_a_missing_processor_names_the_files(tmp_path):
    with pytest.raises(CheckpointNotFound, match=r"neither preprocessor_config\.json nor processor_config\.json"):
        ImageProcessor.from_pretrained(tmp_path)
    with pytest.raises(CheckpointNotFound, match="gone: no such folder"):
        ImageProcessor.from_pretrained(tmp_path / "gone")
    write(tmp_path, "processor_config.json", {"image_processor": 3})
    with pytest.raises(ConfigError, match=r"processor_config\.json: image_processor must be an object, got 3"):
        ImageProcessor.from_pretrained(tmp_path)
    (tmp_path / "processor_config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"processor_config\.json: not valid JSON"):
        ImageProcessor.from_pretrained(tmp_path)
