"""Fitting the probability on labelled lines, and ``vedcore eval --calibrate``."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from typer.testing import CliRunner

from tests.test_calibration import SHIPPED
from tests.training.tiny import recipe
from vedcore.cli import app
from vedcore.errors import TrainingError
from vedcore.reader import Calibration, Reading, read_calibration
from vedcore.storage.own import weights_checksums
from vedcore.training import Comparison, fit_calibration
from vedcore.training.build import build_reader
from vedcore.training.checkpoints import write_reader

SUMS = {"float32": 1}


def compared(doubts, right, stop_reasons=None):
    """Lines with these doubts, read right or wrong."""
    reasons = stop_reasons or ["eos"] * len(doubts)
    readings = tuple(
        Reading("a" if is_right else "b", math.exp(-doubt), (1,), (-float(doubt),), reason, None, layout="line")
        for doubt, is_right, reason in zip(doubts, right, reasons, strict=True)
    )
    return Comparison(("",) * len(readings), ("a",) * len(readings), readings, 1.0)


def drawn(lines, seed, constant=1.0, slope=-1.2):
    """Lines whose errors follow the logistic function of the logarithm of their doubt."""
    chance = np.random.default_rng(seed)
    logs = chance.normal(-3.0, 2.5, lines)
    return compared(np.exp(logs), chance.random(lines) < 1 / (1 + np.exp(-constant - slope * logs)))


def test_the_fit_finds_the_mapping_and_halves_the_odds():
    fitted = fit_calibration(drawn(20_000, seed=1), SUMS)
    assert fitted.log_doubt == pytest.approx(-1.2, abs=0.05)
    assert fitted.constant == pytest.approx(1.0 - math.log(2), abs=0.1)
    assert (fitted.lines, fitted.weights) == (20_000, SUMS)


def test_the_probability_is_nearer_to_the_share_of_right_lines_than_the_confidence_is():
    fitted = fit_calibration(drawn(2_000, seed=2), SUMS)
    assert fitted.probability_error < fitted.confidence_error
    score = drawn(2_000, seed=3).calibrated(fitted).score()
    assert score.probability_error < 0.05 < score.calibration_error


def test_few_of_the_lines_above_nine_tenths_are_wrong_whatever_lines_were_fitted():
    unseen = drawn(20_000, seed=4)
    for seed in range(20):
        score = unseen.calibrated(fit_calibration(drawn(300, seed=100 + seed), SUMS)).score()
        assert score.sure > 0
        assert score.sure_wrong <= 0.02 * score.sure


def test_a_line_without_an_end_has_probability_0_and_no_part_in_the_fit():
    lines = drawn(500, seed=5)
    doubts = [-reading.token_logprobs[0] for reading in lines.readings]
    more = compared([*doubts, 1e-9], [*lines.exact, False], [*["eos"] * 500, "length"])
    one, other = fit_calibration(lines, SUMS), fit_calibration(more, SUMS)
    assert (one.constant, one.log_doubt) == (other.constant, other.log_doubt)
    assert more.calibrated(other).readings[-1].probability == 0.0


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (compared([0.1] * 60, [True] * 40 + [False] * 20), "of these 60 lines, 40 are right and 20 wrong. Add lines$"),
        (compared([0.1] * 200, [True] * 200), "200 are right and 0 wrong. Add lines, also harder ones$"),
        (compared([0.1] * 200, [False] * 195 + [True] * 5), "5 are right and 195 wrong. Add lines$"),
        (compared([0.1] * 200, [True, False] * 100), "not less sure of the 100 lines that it reads wrong"),
        (compared([1.0] * 100 + [0.1] * 100, [True] * 100 + [False] * 100), "not less sure of the 100 lines"),
    ],
)
def test_lines_that_cannot_be_fitted_are_refused_with_what_is_missing(lines, message):
    with pytest.raises(TrainingError, match=message):
        fit_calibration(lines, SUMS)


def test_right_and_wrong_lines_that_doubt_separates_give_finite_coefficients():
    fitted = fit_calibration(compared([1e-7] * 90 + [3.0] * 10, [True] * 90 + [False] * 10), SUMS)
    assert fitted.probability(compared([1e-7], [True]).readings[0]) > 0.9
    assert fitted.probability(compared([3.0], [True]).readings[0]) < 0.1


def test_a_saved_reader_keeps_its_calibration_until_training_changes_the_weights(tmp_path):
    reader = build_reader(recipe().model, 0)
    fields = {"constant": 0.0, "log_doubt": -1.0, "lines": 100, "wrong": 10}
    errors = {"confidence_error": 0.1, "probability_error": 0.1}
    reader.calibration = Calibration(**fields, **errors, weights=weights_checksums(reader.model.parameters()))
    write_reader(reader, tmp_path / "same")
    assert read_calibration(tmp_path / "same") == reader.calibration
    with torch.no_grad():
        next(reader.model.parameters()).add_(1e-3)
    write_reader(reader, tmp_path / "trained")
    assert read_calibration(tmp_path / "trained") is None


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """100 lines of print, every fourth blurred until it can hardly be read."""
    folder = tmp_path_factory.mktemp("lines")
    rows = []
    for number in range(100):
        image = Image.new("L", (170, 40), 255)
        ImageDraw.Draw(image).text((6, 4), f"line {number * 7919 % 1000}", 0, ImageFont.load_default(26))
        if number % 4 == 0:
            image = image.filter(ImageFilter.GaussianBlur(5))
        image.save(folder / f"{number}.png")
        rows.append(json.dumps({"file": f"{number}.png", "text": f"line {number * 7919 % 1000}"}) + "\n")
    (folder / "labels.jsonl").write_text("".join(rows))
    return folder


def vedcore(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_eval_stores_a_calibration_in_a_folder_and_then_prints_and_reads_probabilities(lines, tmp_path):
    folder = shutil.copytree(SHIPPED, tmp_path / "reader")
    before = json.loads((folder / "vedcore.json").read_text())
    result = vedcore("eval", folder, lines, "--calibrate")
    assert result.exit_code == 0, result.output
    assert "calibration stored, fitted on 100 lines" in result.stderr
    assert "probability above 0.9" in result.stdout
    after = json.loads((folder / "vedcore.json").read_text())
    assert {name: value for name, value in after.items() if name != "calibration"} == before
    score = json.loads(vedcore("eval", folder, lines, "--format", "json").stdout)
    assert score["probability_error"] < score["calibration_error"]
    assert score["sure_wrong"] <= score["sure"] <= 100
    assert 0 <= score["worst"][0]["probability"] < 0.9
    row = json.loads(vedcore("read", "-m", folder, lines / "1.png", "--format", "jsonl").stdout)
    assert 0 < row["probability"] < 1
    assert "probability" in vedcore("read", "-m", folder, lines / "1.png", "--format", "table").stdout
    # Once more, over the calibration of other weights: no warning, for it is replaced.
    content = json.loads((folder / "vedcore.json").read_text())
    content["calibration"]["weights"]["float32"] += 1
    (folder / "vedcore.json").write_text(json.dumps(content))
    assert "other weights" not in vedcore("eval", folder, lines, "--calibrate").stderr


@pytest.mark.parametrize("name", ["line-reader", SHIPPED])
def test_a_shipped_checkpoint_is_not_calibrated(lines, name):
    before = (SHIPPED / "vedcore.json").read_bytes()
    result = vedcore("eval", name, lines, "--calibrate")
    assert result.exit_code == 2
    assert f"copy the folder {SHIPPED} and name the copy" in result.stderr
    assert (SHIPPED / "vedcore.json").read_bytes() == before


def test_too_few_lines_store_nothing(tmp_path, lines):
    folder = shutil.copytree(SHIPPED, tmp_path / "reader")
    before = (folder / "vedcore.json").read_bytes()
    shutil.copy(lines / "1.png", tmp_path / "1.png")
    (tmp_path / "1.txt").write_text("line 919")
    result = vedcore("eval", folder, tmp_path, "--calibrate")
    assert (result.exit_code, (folder / "vedcore.json").read_bytes()) == (2, before)
    assert "a calibration needs at least 100 labelled lines" in result.stderr
