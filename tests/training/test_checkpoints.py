"""The checkpoints of a run: which folders count, and that a run refuses what no run can have written."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.training.tiny import Lines, recipe
from vedcore.errors import CheckpointError, TrainingError
from vedcore.training import train
from vedcore.training.build import build_reader
from vedcore.training.checkpoints import CheckpointFolder
from vedcore.training.finite import not_finite
from vedcore.training.objective import Objective
from vedcore.training.optimizer_state import load_optimizer_state
from vedcore.training.state import Position, TrainingState, load_scaler

PLAN = {"stages": [{"steps": 2, "lr": 5e-3}, {"steps": 3, "lr": 1e-3}], "evaluation": {"lines": 0}}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of five steps, with checkpoints at 3 and 5."""
    folder = tmp_path_factory.mktemp("run") / "out"
    train(recipe(**PLAN), folder, Lines())
    return folder


@pytest.fixture
def run(finished, tmp_path):
    """A copy of that run, to damage."""
    return shutil.copytree(finished, tmp_path / "out")


def newest(run):
    return run / "checkpoints/step-00000005"


def resume(run):
    return train(recipe(**PLAN), run, Lines(), resume=True)


def assert_refused(run, *words):
    """Assert that resuming fails with one line that contains all ``words`` and the advice."""
    with pytest.raises(CheckpointError) as raised:
        resume(run)
    message = str(raised.value)
    assert "\n" not in message
    assert raised.value.file.startswith(str(newest(run)))
    for word in (*words, f"delete {newest(run)} to resume from the one before it"):
        assert word in message


def change(run, key, value):
    """Set the field of the state with the dotted ``key``; ... removes it."""
    file = newest(run) / "state.json"
    data = json.loads(file.read_text())
    at = data
    *path, last = (int(part) if part.isdecimal() else part for part in key.split("."))
    for part in path:
        at = at[part]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    file.write_text(json.dumps(data))


def change_tensors(run, changed, folder="state"):
    file = newest(run) / folder / "model.safetensors"
    tensors = load_file(file)
    changed(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("position.step", "x"),
        ("position.step", -1),
        ("position.step", 4),
        ("position.step", True),
        ("position.step", ...),
        ("position.stage", -1),
        ("position.stage", 99),
        ("position.stage", 0),
        ("position.stage", ...),
        ("position.stage_step", 0.5),
        ("position.stage_step", 1),
        ("position.stage_step", ...),
        ("position.stage_seconds", "x"),
        ("position.stage_seconds", -1.0),
        ("position.best_step", "y"),
        ("position.best_step", 0),
        ("position.best_step", 3),
        ("position.best_cer", 0.5),
        ("position.best_cer", -0.5),
        ("position.skipped", -1),
        ("position.skipped", ...),
        ("position.age", 1),
        ("position", None),
        ("position", []),
        ("groups", {}),
        ("groups", []),
        ("groups", ["x"]),
        ("groups.0", ...),
        ("groups.0.names", ["model.nothing"]),
        ("groups.0.names", []),
        ("groups.0.names", 3),
        ("groups.0.factor", ...),
        ("groups.0.factor", "x"),
        ("groups.0.weight_decay", -1),
        ("groups.0.weight_decay", None),
        ("scaler", None),
        ("scaler", {"scale": 1.0}),
        ("scaler", ...),
    ],
)
def test_a_state_that_no_run_can_have_written_is_refused_with_its_field(key, value, run):
    change(run, key, value)
    assert_refused(run, "state.json", key.split(".")[-1 if key.startswith("position.") else 0])


def test_a_parameter_in_two_groups_is_refused(run):
    groups = json.loads((newest(run) / "state.json").read_text())["groups"]
    change(run, "groups", [*groups, groups[0]])
    assert_refused(run, "state.json", "groups must name each parameter that learns once")


MOMENT, SQUARES, STEPS = (f"optimizer.{{}}:{key}" for key in ("exp_avg", "exp_avg_sq", "step"))


def put(form, make):
    """A change that replaces a tensor by the result of ``make``, or removes it if that is None."""

    def changed(tensors):
        name = next(name for name in sorted(tensors) if name.startswith("optimizer.") and tensors[name].dim() == 2)
        name = form.format(name.removeprefix("optimizer.").rpartition(":")[0])
        new = make(tensors.pop(name))
        if new is not None:
            tensors[name] = new.contiguous()

    return changed


def only(*keys):
    """A change that removes all tensors of the optimiser except those of these keys."""

    def changed(tensors):
        for name in list(tensors):
            if name.startswith("optimizer.") and name.rpartition(":")[2] not in keys:
                del tensors[name]

    return changed


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        (put(MOMENT, lambda t: t.sum()), "exp_avg is float32 [], expected float32 ["),
        (put(SQUARES, lambda t: t.sum()), "exp_avg_sq is float32 [], expected float32 ["),
        (put(MOMENT, lambda t: t.flatten()), "exp_avg is float32 ["),
        (put(MOMENT, lambda t: t.half()), "exp_avg is float16 ["),
        (put(MOMENT, lambda t: t * float("nan")), ":exp_avg"),
        (put(SQUARES, lambda t: t + float("inf")), ":exp_avg_sq"),
        (put(SQUARES, lambda t: t - 1), ":exp_avg_sq, a mean of squares, has values below 0"),
        (put(STEPS, lambda t: t.reshape(1)), "step is float32 [1], expected float32 []"),
        (put(STEPS, lambda t: t.long()), "step is int64 [], expected float32 []"),
        (put(STEPS, lambda t: t - 0.5), "step is 4.5, expected a whole number from 1 to 5"),
        (put(STEPS, lambda t: t + 1), "step is 6, expected a whole number from 1 to 5"),
        (put(STEPS, lambda t: t * 0), "step is 0, expected a whole number from 1 to 5"),
        (put(MOMENT, lambda t: None), "missing are optimizer."),
        (put(SQUARES, lambda t: None), "missing are optimizer."),
        (put(STEPS, lambda t: None), "missing are optimizer."),
        (only(), "missing are optimizer."),
        (only("step"), "step is 5, expected 0, or moments for it"),
        (lambda tensors: tensors.update({"optimizer.x:step": torch.ones(())}), "has optimizer.x:step, which this run"),
        (lambda tensors: tensors.pop("ctc.bias"), "missing are ctc.bias"),
        (lambda tensors: tensors.update({"ctc.bias": torch.ones(3)}), "ctc.bias is float32 [3], expected float32 [99]"),
        (lambda tensors: tensors["ctc.bias"].fill_(float("nan")), "not finite are ctc.bias"),
    ],
)
def test_optimiser_tensors_that_do_not_fit_are_refused_with_their_name(changed, word, run):
    change_tensors(run, changed)
    assert_refused(run, str(newest(run) / "state"), word)


def test_a_tensor_of_another_shape_is_an_error_with_its_data(run):
    change_tensors(run, lambda tensors: tensors.update({"ctc.bias": torch.ones(3)}))
    with pytest.raises(CheckpointError) as raised:
        resume(run)
    error = raised.value
    assert (error.file, error.tensor) == (str(newest(run) / "state/model.safetensors"), "ctc.bias")
    assert (error.expected, error.found) == (("float32", (99,)), ("float32", (3,)))


def test_a_wrong_step_is_an_error_with_its_data(run):
    change(run, "position.step", 4)
    with pytest.raises(CheckpointError) as raised:
        resume(run)
    error = raised.value
    assert (error.file, error.field, error.found) == (str(newest(run) / "state.json"), "position.step", 4)


def test_a_run_does_not_resume_from_weights_that_are_not_finite(run):
    change_tensors(run, lambda tensors: next(iter(tensors.values())).fill_(float("inf")), "model")
    assert_refused(run, str(newest(run) / "model"), "not finite are ")


@pytest.mark.parametrize(
    "name", ["state.json", "state/model.safetensors", "model/model.safetensors", "model/config.json"]
)
def test_a_missing_or_damaged_file_is_refused_with_advice(name, run, tmp_path):
    torn = shutil.copytree(run, tmp_path / "torn")
    (newest(run) / name).unlink()
    assert_refused(run)
    (newest(torn) / name).write_bytes(b"\xff torn")
    assert_refused(torn, name)
    shutil.rmtree(newest(torn))
    assert resume(torn).step == 5


def test_the_best_model_is_published_only_if_its_weights_are_finite(tmp_path):
    plan = recipe(4, checkpoints={"every": 2, "keep": 1}, evaluation={"data": "train", "lines": 8, "every": 2})
    out = tmp_path / "out"
    train(plan, out, Lines())
    best = shutil.copytree(CheckpointFolder(out, 1).newest(), out / "checkpoints/step-00000001", dirs_exist_ok=True)
    change_best = CheckpointFolder(out, 1).newest() / "state.json"
    data = json.loads(change_best.read_text())
    data["position"] |= {"best_step": 1, "best_cer": 0.0}
    change_best.write_text(json.dumps(data))
    tensors = load_file(best / "model/model.safetensors")
    next(iter(tensors.values())).fill_(float("nan"))
    save_file(tensors, best / "model/model.safetensors", metadata={"format": "pt"})
    before = (out / "model.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match=r"step-00000001/model: not finite are .*delete .*step-00000001 to"):
        train(plan, out, Lines(), resume=True)
    assert (out / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    "name", ["step-00000009.bak", "step-abc", "step-9", "step-\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0669"]
)
def test_a_folder_with_a_similar_name_is_not_a_checkpoint_and_is_kept(name, tmp_path):
    other = tmp_path / "out/checkpoints" / name
    other.mkdir(parents=True)
    train(recipe(**PLAN), tmp_path / "out", Lines())
    assert resume(tmp_path / "out").step == 5
    assert CheckpointFolder(tmp_path / "out", 2).newest() == newest(tmp_path / "out")
    assert other.is_dir()


def test_a_file_is_not_a_checkpoint(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/step-00000009").touch()
    assert CheckpointFolder(tmp_path, 2).newest() is None


def test_a_parameter_without_a_gradient_is_resumed_without_moments(tmp_path):
    reader = build_reader(recipe().model, 0)
    objective = Objective(reader.model, ctc=True)
    optimizer, fresh = (torch.optim.AdamW(objective.parameters(), fused=True) for _ in range(2))
    for parameter in objective.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    state = TrainingState(position=Position(step=1), groups=(), scaler={})
    path = CheckpointFolder(tmp_path, 1).save(state, reader, objective, optimizer)
    load_optimizer_state(path / "state", 1, objective, fresh)
    old, new = optimizer.state_dict()["state"], fresh.state_dict()["state"]
    assert old.keys() == new.keys()
    assert all(torch.equal(old[place][key], new[place][key]) for place in old for key in old[place])
    assert len(new) == len(list(objective.model.parameters()))


@pytest.mark.parametrize(
    "changed",
    [
        {"scale": "x"},
        {"scale": 0.0},
        {"scale": 1e300},
        {"scale": 2},
        {"growth_factor": 3.0},
        {"_growth_tracker": -1},
        {"_growth_tracker": 2000},
        {"more": 1},
    ],
)
def test_the_scaler_loads_only_the_state_of_such_a_scaler(changed, tmp_path):
    scaler = torch.amp.GradScaler("cpu")
    good = {**scaler.state_dict(), "scale": 512.0, "_growth_tracker": 7}
    for values, taker in (({**good, **changed}, scaler), ({}, scaler), (good, None)):
        with pytest.raises(CheckpointError, match=r"state\.json: scaler is "):
            load_scaler(tmp_path, TrainingState(position=Position(), groups=(), scaler=values), taker)
    load_scaler(tmp_path, TrainingState(position=Position(), groups=(), scaler=good), scaler)
    assert scaler.state_dict() == good


def test_tensors_that_are_not_finite_are_named():
    tensors = {"a": torch.ones(2), "b": torch.tensor([1.0, float("nan")]), "c": torch.tensor(float("-inf"))}
    assert not_finite(tensors) == ["b", "c"]


@pytest.mark.parametrize(
    ("stages", "last_good"),
    [
        ([{"steps": 1, "lr": 1e300}], "there is no checkpoint yet"),
        ([{"steps": 3, "lr": 1e-3}, {"steps": 1, "lr": 1e300}], "the last good checkpoint is .*step-00000003"),
    ],
)
def test_weights_that_are_not_finite_are_neither_saved_nor_published(stages, last_good, tmp_path):
    step, out = sum(stage["steps"] for stage in stages), tmp_path / "out"
    with pytest.raises(
        TrainingError, match=rf"step {step}: \d+ of \d+ weights are not finite after it, .*; {last_good}"
    ):
        train(recipe(stages=stages), out, Lines())
    assert [path.name for path in out.glob("checkpoints/*")] == [f"step-{step - 1:08d}"] * (step > 1)
    assert not (out / "config.json").exists()
    assert not list(out.glob("*.safetensors"))
