import json

import pytest

from tests.bench.comparison import compare
from tests.bench.models import TRANSFORMERS, UNPREPARED, VEDCORE
from tests.bench.results import Result, add_run


def runs(file, *ours, case="case"):
    for milliseconds in ours:
        values = {TRANSFORMERS: {"whole": 100.0}, VEDCORE: {"whole": milliseconds}}
        add_run(file, [Result("full", case, values)])
    return file


@pytest.fixture
def before(tmp_path):
    return runs(tmp_path / "before.json", 50.0, 49.0, 51.0)


def test_a_ratio_that_falls_by_less_than_ten_percent_is_noise(before, tmp_path, capsys):
    assert compare(before, runs(tmp_path / "after.json", 54.0))
    assert capsys.readouterr().out == (
        "0 of 1 ratios fell by more than 10%, 0 are missing. Runs: 3 before and 1 after.\n"
    )


def test_a_ratio_that_falls_by_more_is_printed(before, tmp_path, capsys):
    assert not compare(before, runs(tmp_path / "after.json", 60.0))
    assert "full: case (vedcore), whole" in capsys.readouterr().out


def test_the_median_of_the_runs_is_compared(before, tmp_path):
    assert compare(before, runs(tmp_path / "after.json", 50.0, 500.0, 50.0))


def test_a_case_that_was_not_measured_again_is_printed(before, tmp_path, capsys):
    assert not compare(before, runs(tmp_path / "after.json", 50.0, case="another"))
    assert "not measured" in capsys.readouterr().out


def test_the_prepared_model_takes_the_place_of_the_model_that_could_not_be_prepared(before, tmp_path):
    values = {TRANSFORMERS: {"whole": 100.0}, VEDCORE: {"whole": 40.0}, UNPREPARED: {"whole": 90.0}}
    after = tmp_path / "after.json"
    add_run(after, [Result("full", "case", values)])
    assert compare(before, after)


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"runs": []})])
def test_a_file_without_runs_ends_with_a_message(before, tmp_path, text):
    broken = tmp_path / "broken.json"
    broken.write_text(text)
    with pytest.raises(SystemExit, match=r"broken\.json"):
        compare(before, broken)
