"""The folder of a run: it belongs to one recipe and one set of data."""

import json

import pytest

from tests.training.tiny import (
    NO_EVALUATION,
    TEXTS,
    Lines,
    TurnsBad,
    recipe,
    steps_of,
    stop_after,
    write_folder,
)
from vedcore.errors import ConfigError, TrainingError
from vedcore.training import train


def test_a_folder_with_a_run_is_not_overwritten(tmp_path):
    train(recipe(2, **NO_EVALUATION), tmp_path / "out", Lines())
    with pytest.raises(ConfigError, match=r"out: already holds a run; resume it \(--resume"):
        train(recipe(2, **NO_EVALUATION), tmp_path / "out", Lines())
    with pytest.raises(ConfigError, match="no run to resume"):
        train(recipe(2, **NO_EVALUATION), tmp_path / "new", Lines(), resume=True)
    with pytest.raises(ConfigError, match="model: already holds a checkpoint"):
        train(recipe(2, **NO_EVALUATION), (tmp_path / "out/checkpoints/step-00000002/model"), Lines())


@pytest.mark.parametrize("out", ["", "out", "deep/out", "../lines"])
def test_a_run_cannot_be_written_into_its_own_data(out, tmp_path):
    lines = write_folder(tmp_path / "lines")
    before = sorted(lines.iterdir())
    with pytest.raises(
        ConfigError, match=r"is inside .*lines, the folder of data set 'train'; choose a folder outside"
    ):
        train(recipe(2, **NO_EVALUATION), lines / out, lines)
    assert sorted(lines.iterdir()) == before


def test_a_run_that_failed_before_its_first_checkpoint_can_be_replaced(tmp_path):
    plan = recipe(2, stages=[{"steps": 5, "lr": 1e30}], optimizer={"clip": 0.0}, **NO_EVALUATION)
    with pytest.raises(TrainingError, match="there is no checkpoint yet"):
        train(plan, tmp_path / "out", Lines())
    assert train(recipe(2, **NO_EVALUATION), tmp_path / "out", Lines()).step == 2
    assert len(steps_of(tmp_path / "out")) == 2


def test_a_run_resumes_only_with_its_own_recipe_and_data(tmp_path):
    train(recipe(2, **NO_EVALUATION), tmp_path / "out", Lines())
    with pytest.raises(ConfigError, match=r"recipe\.seed was 0, is 3"):
        train(recipe(2, seed=3, **NO_EVALUATION), tmp_path / "out", Lines(), resume=True)
    with pytest.raises(ConfigError, match=r"data\.train was 8, is 400"):
        train(recipe(2, **NO_EVALUATION), tmp_path / "out", TurnsBad(), resume=True)


def test_a_difference_in_a_stage_is_reported_with_its_field(tmp_path):
    plan = recipe(2, stages=[{"steps": 2}, {"steps": 60, "lr": 1e-3}], freeze=["decoder"], **NO_EVALUATION)
    train(plan, tmp_path / "out", Lines(), watch=stop_after(3))
    other = recipe(2, stages=[{"steps": 2}, {"steps": 90, "lr": 1e-3}], freeze=["decoder", "adapter"], **NO_EVALUATION)
    differ = r"\(recipe\.freeze\[1\] was None, is 'adapter'; recipe\.stages\[1\]\.steps was 60, is 90\)"
    with pytest.raises(ConfigError, match=differ):
        train(other, tmp_path / "out", Lines(), resume=True)


def test_a_run_resumes_only_with_the_names_and_texts_of_its_folder(tmp_path):
    plan, out = recipe(2, **NO_EVALUATION), tmp_path / "out"
    train(plan, out, write_folder(tmp_path / "lines"))
    reversed_texts = write_folder(tmp_path / "reversed", texts=tuple(text[::-1] for text in TEXTS))
    with pytest.raises(
        ConfigError, match=r"started with other settings \(digest of names and texts in data\.train was '\w+', is "
    ):
        train(plan, out, reversed_texts, resume=True)
    moved = write_folder(tmp_path / "moved", "csv")
    assert train(plan, out, moved, resume=True).step == 2


def test_a_run_from_before_digests_resumes(tmp_path):
    plan, lines = recipe(2, **NO_EVALUATION), write_folder(tmp_path / "lines")
    train(plan, tmp_path / "out", lines)
    path = tmp_path / "out/recipe.json"
    started = json.loads(path.read_text())
    del started["digests"]
    path.write_text(json.dumps(started))
    assert train(plan, tmp_path / "out", lines, resume=True).step == 2
