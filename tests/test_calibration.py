"""The probability that a text is right: the mapping, its place in a checkpoint, and the weights that it belongs to."""

import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from vedcore import ConfigError, Reader, Reading, VisionEncoderDecoderModel
from vedcore.reader import Block, Calibration, CalibrationWarning, Line, read_calibration
from vedcore.reader.calibration import log_doubt, with_probability, write_calibration
from vedcore.reader.polygons import rectangle
from vedcore.storage.own import weights_checksums

SHIPPED = Path(__file__).parent.parent / "plugins/vedcore-plugin-linereader/vedcore_plugin_linereader/line-reader"
FIELDS = {
    "constant": -1.0,
    "log_doubt": -1.5,
    "lines": 500,
    "wrong": 60,
    "confidence_error": 0.2,
    "probability_error": 0.05,
    "weights": {"float32": 1},
}
MAPPING = Calibration(**FIELDS)
BOX = rectangle((10, 10))


def line(*logprobs: float, stop_reason: str = "eos") -> Line:
    return Line(BOX, "text", 0.5, tuple(range(len(logprobs))), logprobs, stop_reason)


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """A copy of the shipped checkpoint with a calibration of its weights."""
    folder = shutil.copytree(SHIPPED, tmp_path_factory.mktemp("calibrated") / "reader")
    weights = weights_checksums(VisionEncoderDecoderModel.from_pretrained(folder).parameters())
    write_calibration(folder, Calibration(**{**FIELDS, "weights": weights}))
    return folder


@pytest.fixture
def folder(calibrated, tmp_path):
    """A copy of that, to change."""
    return shutil.copytree(calibrated, tmp_path / "reader")


def own(folder):
    return json.loads((folder / "vedcore.json").read_text())


@given(st.lists(st.floats(-50, 0), min_size=1, max_size=40), st.floats(-50, 0))
def test_a_probability_is_between_0_and_1_and_falls_with_each_doubtful_token(logprobs, more):
    before, after = (MAPPING.probability(line(*values)) for values in (logprobs, [*logprobs, more]))
    assert 0 <= after <= before <= 1


def test_the_probability_is_the_logistic_function_of_the_logarithm_of_the_doubt():
    expected = torch.sigmoid(torch.tensor(-1.0 - 1.5 * log_doubt((-0.02, -0.01)), dtype=torch.float64)).item()
    assert MAPPING.probability(line(-0.02, -0.01)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("stop_reason", ["length", "stopped"])
def test_a_text_that_did_not_come_to_its_end_is_not_right(stop_reason):
    assert MAPPING.probability(line(-1e-6, stop_reason=stop_reason)) == 0.0


def test_the_probability_of_a_page_is_the_mean_of_its_lines_and_none_without_text():
    lines = line(-0.01), line(-0.2), line(-1e-4)
    page = Reading("", 0.5, (), (), "eos", None, blocks=(Block(BOX, lines[:1]), Block(BOX, lines[1:])), layout="page")
    read = with_probability(page, MAPPING)
    expected = [MAPPING.probability(line) for line in lines]
    assert [line.probability for line in read.lines] == expected
    assert read.probability == pytest.approx(sum(expected) / 3)
    assert with_probability(replace(page, blocks=(), stop_reason="no text"), MAPPING).probability is None
    assert with_probability(page, None) == page


def test_the_readings_of_a_calibrated_checkpoint_have_probabilities(calibrated):
    reader = Reader.load(calibrated)
    image = Image.new("L", (900, 40), 255)
    ImageDraw.Draw(image).text(
        (4, 4), "several words that are cut into pieces of a line", 0, ImageFont.load_default(28)
    )
    cut, whole = *reader.read([image]), *reader.read([image], layout="whole")
    assert len(cut.pieces) > 1
    assert cut.probability == cut.lines[0].probability == reader.calibration.probability(cut)
    assert whole.probability == reader.calibration.probability(whole)
    assert [reading.probability for reading in Reader.load("line-reader").read([image])] == [None]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"constant": "1"}, "calibration.constant"),
        ({"log_doubt": 0.5}, "calibration.log_doubt"),
        ({"lines": 0}, "calibration.lines"),
        ({"wrong": -1}, "calibration.wrong"),
        ({"wrong": 1.0}, "calibration.wrong"),
        ({"probability_error": 2}, "calibration.probability_error"),
        ({"weights": [1]}, "calibration.weights"),
        ({"weights": {"float32": "1"}}, "calibration.weights"),
        ({"slope": 1.0}, "calibration.slope"),
        ({"constant": None}, "calibration.constant"),
        ("missing", "calibration.constant"),
        ("list", "calibration"),
    ],
)
def test_a_bad_calibration_is_refused_with_its_file_and_field(folder, change, field):
    content = own(folder)
    if change == "missing":
        del content["calibration"]["constant"]
    elif change == "list":
        content["calibration"] = [1, 2]
    else:
        content["calibration"] |= change
    (folder / "vedcore.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="remove the key, or run vedcore eval with --calibrate again") as raised:
        Reader.load(folder)
    assert raised.value.file == str(folder / "vedcore.json")
    assert raised.value.field.startswith(field)


def test_writing_a_calibration_keeps_the_other_settings(folder):
    before = own(folder)
    assert set(before) == {*own(SHIPPED), "calibration"}
    write_calibration(folder, MAPPING)
    assert own(folder) == {**before, "calibration": MAPPING.to_dict()}
    assert read_calibration(folder) == MAPPING
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_calibration_belongs_to_the_weights_in_any_type(folder, dtype):
    assert Reader.load(folder, dtype=dtype).calibration == read_calibration(folder)


def test_the_calibration_of_other_weights_is_not_used_and_a_warning_says_so(folder):
    content = own(folder)
    content["calibration"]["weights"]["float32"] += 1
    (folder / "vedcore.json").write_text(json.dumps(content))
    with pytest.warns(CalibrationWarning, match="was fitted with other weights"):
        assert Reader.load(folder).calibration is None


def test_a_saved_model_keeps_the_calibration_until_a_weight_changes(folder):
    model = VisionEncoderDecoderModel.from_pretrained(folder)
    before = own(folder)
    model.save_pretrained(folder)
    assert own(folder) == before
    with torch.no_grad():
        next(iter(model.decoder.parameters())).view(-1)[0] += 1e-3
    model.save_pretrained(folder)
    assert own(folder) == {name: value for name, value in before.items() if name != "calibration"}


def test_a_reader_forgets_its_calibration_when_its_weights_change(folder):
    reader = Reader.load(folder, prepare=False)
    reader.drop_stale_calibration()
    assert reader.calibration is not None
    with torch.no_grad():
        next(reader.model.parameters()).mul_(1.001)
    reader.drop_stale_calibration()
    assert reader.calibration is None


def test_a_reader_is_loaded_with_a_number_of_threads():
    before = torch.get_num_threads()
    try:
        Reader.load("line-reader", threads=3)
        assert torch.get_num_threads() == 3
        Reader.load("line-reader")
        assert torch.get_num_threads() == 3
        with pytest.raises(ConfigError, match="threads must be an int from 1 to 1024, got 0"):
            Reader.load("line-reader", threads=0)
    finally:
        torch.set_num_threads(before)


def test_no_warning_comes_from_a_checkpoint_without_a_calibration():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Reader.load("line-reader").calibration is None
