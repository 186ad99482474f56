"""Evaluation: the numbers of a score, and the report of a run."""

import json

import jiwer
import pytest

from tests.training.tiny import TEXTS, Lines, draw, recipe, write_folder
from vedcore.errors import ConfigError, ImageError, TrainingError
from vedcore.reader import Reading
from vedcore.training import Fault, Folder, Sample, evaluate
from vedcore.training.evaluation import differences

READ = ("one", "twO", "there", "four", "", "six six", "seven", "eigh")
CONFIDENCES = (1.0, 0.85, 0.31, 0.95, 0.05, 0.35, 0.9, 0.89)


class Scripted:
    """Returns the given readings."""

    def __init__(self, read=READ, confidences=CONFIDENCES, bad=()):
        self.read, self.confidences, self.bad = read, confidences, bad

    def each(self, images, **fields):
        for index, image in enumerate(images):
            if index in self.bad:
                yield ImageError(f"{index}: not an image")
            else:
                yield Reading(self.read[index], self.confidences[index], (), (), "eos", image)


def test_error_rates_are_computed_over_all_lines_together():
    score = evaluate(Scripted(), Lines())
    assert score.cer == jiwer.cer(list(TEXTS), list(READ))
    assert score.wer == jiwer.wer(list(TEXTS), list(READ))
    assert (score.lines, score.exact) == (8, 3)
    assert score.lines_per_second > 0


def test_the_worst_lines_have_the_most_errors_per_character():
    worst = evaluate(Scripted(), Lines(), worst=4).worst
    assert [(line.text, line.read, line.errors) for line in worst] == [
        ("six", "six six", 4),
        ("five", "", 4),
        ("three", "there", 2),
        ("two", "twO", 1),
    ]
    assert evaluate(Scripted(TEXTS), Lines()).worst == ()
    assert evaluate(Scripted(), Lines(), worst=0).worst == ()


def test_the_calibration_error_is_the_distance_of_confidence_and_exactness():
    score = evaluate(Scripted(), Lines())
    bins = {b.low: (b.lines, b.exact, round(b.confidence, 3)) for b in score.bins}
    assert bins == {0.0: (1, 0, 0.05), 0.3: (2, 0, 0.33), 0.8: (2, 0, 0.87), 0.9: (3, 3, 0.95)}
    assert score.calibration_error == pytest.approx((0.05 + 2 * 0.33 + 2 * 0.87 + 3 * 0.05) / 8)
    assert evaluate(Scripted(TEXTS, (1.0,) * 8), Lines()).calibration_error == 0.0


def test_a_sample_that_cannot_be_compared_is_a_problem_and_in_no_other_number(tmp_path):
    folder = write_folder(tmp_path / "lines")
    with (folder / "labels.jsonl").open("a") as rows:
        rows.write('{"file": "9.png", "text": "nine"}\n')
    score = evaluate(Scripted(TEXTS, bad=(3,)), Folder(folder))
    assert [problem.fault for problem in score.problems] == [Fault.missing_image, Fault.unreadable_image]
    assert (score.lines, score.cer) == (7, 0.0)
    with pytest.raises(TrainingError, match=r"no line of 8 can be compared: .*not an image"):
        evaluate(Scripted(bad=range(8)), Lines())


def test_a_score_is_json():
    data = json.loads(json.dumps(evaluate(Scripted(), Lines()).to_dict()))
    assert data["worst"][0]["text"] == "six"


def test_differences_have_as_many_letters_as_errors_are_counted():
    for line in evaluate(Scripted(), Lines()).worst:
        parts = differences(line.text, line.read)
        assert ("".join(text for text, _ in parts), "".join(read for _, read in parts)) == (line.text, line.read)
        assert sum(max(map(len, part)) for part in parts if part[0] != part[1]) == line.errors
    assert differences(" ab", "ac ") == [("a", "a"), ("b", "c")]


def test_an_empty_text_is_not_compared():
    class Empty(Lines):
        def __getitem__(self, index):
            return Sample(draw("x"), " ", "line") if index else super().__getitem__(0)

    assert len(evaluate(Scripted(), Empty()).problems) == 7


def test_an_evaluation_without_beams_is_an_error():
    with pytest.raises(ConfigError, match="must be an int of at least 1"):
        recipe(evaluation={"beams": 0})
