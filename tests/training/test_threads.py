"""The number of threads of a run is chosen once and stored."""

import json
import warnings

import pytest
import torch

from tests.training.tiny import NO_EVALUATION, Lines, recipe, stop_after
from vedcore.training import train


def threads_of(run):
    return json.loads((run / "recipe.json").read_text())["recipe"]["threads"]


def while_training(used):
    return lambda event, fields: used.append(torch.get_num_threads())


def test_a_run_computes_with_the_threads_of_its_recipe_and_leaves_those_of_the_caller(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    before, used = torch.get_num_threads(), []
    train(recipe(2, threads=2, **NO_EVALUATION), tmp_path / "out", Lines(), watch=while_training(used))
    assert (set(used), threads_of(tmp_path / "out"), torch.get_num_threads()) == ({2}, 2, before)


def test_the_environment_chooses_the_threads_of_a_new_run_but_not_of_a_resumed_one(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    train(recipe(6, **NO_EVALUATION), tmp_path / "out", Lines(), watch=stop_after(3))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    used = []
    train(recipe(6, **NO_EVALUATION), tmp_path / "out", Lines(), resume=True, watch=while_training(used))
    assert (set(used), threads_of(tmp_path / "out")) == ({2}, 2)


def test_a_resumed_run_warns_about_another_number_of_threads(tmp_path):
    train(recipe(6, threads=1, **NO_EVALUATION), tmp_path / "out", Lines(), watch=stop_after(3))
    with pytest.warns(UserWarning, match="started with 1 threads and continues with 2; .* differ in the last bits"):
        train(recipe(6, threads=2, **NO_EVALUATION), tmp_path / "out", Lines(), resume=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(recipe(6, threads=1, **NO_EVALUATION), tmp_path / "out", Lines(), resume=True)


def test_a_run_from_before_threads_were_stored_resumes(tmp_path):
    train(recipe(6, **NO_EVALUATION), tmp_path / "out", Lines(), watch=stop_after(3))
    path = tmp_path / "out/recipe.json"
    started = json.loads(path.read_text())
    del started["recipe"]["threads"]
    path.write_text(json.dumps(started))
    assert train(recipe(6, **NO_EVALUATION), tmp_path / "out", Lines(), resume=True).step == 6
