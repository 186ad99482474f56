"""A user's own data sets: their problems before and during a run."""

import re
from pathlib import Path

import pytest

from tests.training.tiny import Lines, draw, recipe
from vedcore.errors import ConfigError, TrainingError
from vedcore.training import Fault, Problem, Sample, check_data, open_data, train
from vedcore.training.datasets import CHECKED_SAMPLES

RECIPE = recipe()


class Broken(Lines):
    """Eight lines, some of which are bad."""

    def __init__(self, *bad, problems=()):
        self.bad = dict(enumerate(bad, 1))
        self.problems = problems

    def __getitem__(self, index):
        bad = self.bad.get(index)
        if isinstance(bad, BaseException):
            raise bad
        return bad or super().__getitem__(index)


def test_an_index_without_a_sample_is_a_problem_that_names_data_set_and_index():
    bad = Broken(
        KeyError("gone"),
        ConfigError("a folder is missing"),
        ("image", "text"),
        Sample(draw("x"), None, "line"),
        Sample(draw("x"), "\ud800", "line"),
        Sample(draw("x"), "x", 7),
        SystemExit(0),
    )
    problems = check_data(RECIPE, open_data(RECIPE, bad, Path()))["train"].problems
    assert {problem.fault for problem in problems} == {Fault.bad_sample}
    assert [problem.source for problem in problems] == [f"data set 'train', index {index}" for index in range(1, 8)]
    for problem, message in zip(
        problems,
        (
            r"it raised: KeyError: 'gone', .*test_datasets\.py:\d+",
            r"a folder is missing, .*test_datasets\.py:\d+",
            "expected a Sample, found tuple",
            "its text must be a string of whole characters, found 'None'",
            r"its text must be .* found '\\ud800'",
            "its source must be a string",
            r"it ended the program: SystemExit\(0\)",
        ),
        strict=True,
    ):
        assert re.search(message, problem.detail), problem.detail
    assert str(problems).encode()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_sample_that_fails_during_training_stops_the_run_or_is_counted(workers, tmp_path):
    class Late(Broken):
        def __len__(self):
            return CHECKED_SAMPLES + 8

        def __getitem__(self, index):
            return super().__getitem__(index % 8) if index < CHECKED_SAMPLES else {}[index]

    plan = recipe(26, batch={"size": 8, "workers": workers}, evaluation={"data": "train", "lines": 208})
    with pytest.raises(TrainingError, match=r"data set 'train', index 20\d: bad sample \(it raised: KeyError: 20\d"):
        train(plan, tmp_path / "stopped", Late())
    result = train(plan, tmp_path / "counted", Late(), skip_bad=True)
    assert (result.ended, result.skipped, result.score.lines) == ("done", 8, CHECKED_SAMPLES)
    assert [problem.fault for problem in result.score.problems] == [Fault.bad_sample] * 8


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((line for line in ()), "object of type 'generator' has no len"),
        (7, "object of type 'int' has no len"),
        (type("Huge", (), {"__len__": lambda self: 10**30})(), "OverflowError"),
        (type("Less", (), {"__len__": lambda self: -1})(), "should return >= 0"),
        (type("Late", (), {"__len__": lambda self: 1 // 0})(), "ZeroDivisionError"),
        (Broken(problems=7), "'int' object is not iterable"),
        (Broken(problems=["x"]), "its problems must be a list of Problem"),
    ],
)
def test_an_object_that_is_not_a_data_set_is_a_config_error(data, message):
    with pytest.raises(ConfigError, match=f"^data set 'train': .*{message}"):
        open_data(RECIPE, data, Path())


def test_only_the_first_samples_of_generated_data_are_checked():
    class Endless(Lines):
        def __len__(self):
            return 10**9

        def __getitem__(self, index):
            return Sample(draw("x"), "", f"line {index}") if index == 199 else super().__getitem__(index % 8)

    (problem,) = check_data(RECIPE, {"train": Endless()})["train"].problems
    assert problem == Problem(Fault.empty_label, "line 199", "no text to learn")
