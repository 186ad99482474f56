"""Recipes: strict reading and its errors."""

import json
import sys
from datetime import date
from functools import reduce

import pytest

from tests.training.tiny import recipe
from vedcore.errors import ConfigError
from vedcore.training import Recipe
from vedcore.training.recipe import DataSource
from vedcore.training.schedule import learning_rate

MODEL = {"checkpoint": "line-reader"}


def test_a_recipe_has_the_values_of_its_toml_file(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(
        'seed = 7\nfreeze = ["encoder.*"]\n[model]\ncheckpoint = "line-reader"\n'
        '[data.mine]\nfolder = "lines"\n[[stages]]\ndata = "mine"\nsteps = 3\nlr = 1e-3\n[[stages]]\nminutes = 2\n'
        '[optimizer]\nbeta2 = 0.98\npace = { "decoder.cross" = 10 }\n'
    )
    read = Recipe.from_toml(path)
    assert (read.seed, read.freeze, read.model.checkpoint) == (7, ("encoder.*",), "line-reader")
    assert [(stage.data, stage.steps, stage.minutes) for stage in read.stages] == [
        ("mine", 3, None),
        ("train", None, 2.0),
    ]
    assert (read.optimizer.beta2, read.optimizer.pace) == (0.98, {"decoder.cross": 10.0})


def test_a_recipe_survives_a_round_trip_through_json():
    first = recipe(freeze=["encoder.*"])
    assert Recipe.from_dict(json.loads(json.dumps(first.to_dict()))) == first


NAN = float("nan")
DEEP = {"a": reduce(lambda inner, _: [inner], range(100), 1)}
WRONG = {
    "an unknown table": ({"optimiser": {}}, "Recipe has no field 'optimiser'; did you mean 'optimizer'"),
    "an unknown key": ({"batch": {"sise": 3}}, r"BatchSettings has no field 'sise'; did you mean 'size'"),
    "an unknown key of a stage": ({"stages": [{"step": 3}]}, "Stage has no field 'step'; did you mean 'steps'"),
    "a key that is like none": ({"loss": {"zzz": 1}}, "its fields are label_smoothing, ctc"),
    "a wrong type": ({"batch": {"size": "3"}}, r"expected int, got '3' in Recipe.batch.size"),
    "a value out of range": (
        {"loss": {"label_smoothing": 2.0}},
        "LossSettings.label_smoothing must be a number from 0 to 1",
    ),
    "a stage without end": (
        {"stages": [{"lr": 1.0}]},
        r"a stage has one of steps, epochs and minutes, but none of them is set in Recipe\.stages\[0\]",
    ),
    "a stage with two ends": (
        {"stages": [{"steps": 1, "minutes": 1}]},
        r"a stage has one of steps, epochs and minutes, but steps and minutes are set in Recipe\.stages\[0\]",
    ),
    "a warmup that outlasts its stage": (
        {"stages": [{"steps": 10, "warmup": 11}]},
        r"warmup \(11\) must be at most the steps of its stage \(10\)",
    ),
    "a weight below zero": (
        {"loss": {"ctc": -1e-10}},
        "LossSettings.ctc must be a finite number of at least 0, got -1e-10",
    ),
    "an angle that is too steep": (
        {"augmentation": {"rotation": 46}},
        "Augmentation.rotation must be a finite number from 0 to 45, got 46",
    ),
    "no stage": ({"stages": []}, "stages is empty"),
    "a schedule that is none": ({"stages": [{"steps": 1, "schedule": "step"}]}, "one of constant, cosine, linear"),
    "a batch that cannot be divided": (
        {"batch": {"size": 5, "accumulation": 2}},
        "must be a multiple of batch.accumulation",
    ),
    "no model": ({"model": {}}, "model needs a checkpoint to continue from, or encoder, decoder"),
    "half a model": ({"model": {"encoder": "a", "tokenizer": "b"}}, "it has encoder, tokenizer"),
    "two models": ({"model": {**MODEL, "decoder": "b"}}, "includes encoder and decoder"),
    "a part that is a number": ({"model": {"encoder": 3}}, "encoder must be the name of a checkpoint or a table"),
    "data that is two things": ({"data": {"a": {"folder": "x", "source": "m:f"}}}, "either a folder or a source"),
    "a pace that goes uphill": (
        {"optimizer": {"pace": {"a": -1.0}}},
        "OptimizerSettings.pace must be finite numbers of at least 0",
    ),
    "a pace that is no number": ({"optimizer": {"pace": {"a": NAN}}}, "OptimizerSettings.pace must be finite numbers"),
    "a beta of one": ({"optimizer": {"beta2": 1.0}}, "OptimizerSettings.beta2 must be a number of at least 0, below 1"),
    "a cut that is no number": (
        {"model": {**MODEL, "cut": {"above": NAN}}},
        r"ModelSettings\.cut\.above must be a value that JSON can represent .*NaN",
    ),
    "a date": (
        {"model": {"encoder": {"a": date(1, 1, 1)}}},
        r"ModelSettings\.encoder\.a must be a value that JSON can represent .*date",
    ),
    "a depth": (
        {"model": {**MODEL, "generation": DEEP}},
        r"ModelSettings\.generation\.a must be a value .*nested deeper",
    ),
    "options that are no number": (
        {"data": {"a": {"source": "m:f", "options": {"a": NAN}}}},
        r"DataSource\.options\.a must be a value that JSON can represent",
    ),
    "a seed beyond 64 bits": ({"seed": 10**23}, "Recipe.seed must be an int from 0 to"),
    "a batch for no memory": ({"batch": {"size": 10**7}}, "BatchSettings.size must be an int from 1 to 65536"),
    "passes without end": (
        {"batch": {"accumulation": 10**12}},
        "BatchSettings.accumulation must be an int from 1",
    ),
    "workers without end": ({"batch": {"workers": 10**7}}, "BatchSettings.workers must be an int from 0 to 1024"),
    "lines without end": ({"evaluation": {"lines": 10**12}}, "EvaluationSettings.lines must be an int from 0"),
    "beams without end": (
        {"evaluation": {"beams": 10**7}},
        "beams times batch_size of an evaluation must be at most 65536",
    ),
    "readings without end": (
        {"evaluation": {"batch_size": 10**7}},
        "EvaluationSettings.batch_size must be an int from 1",
    ),
    "steps without end": ({"stages": [{"steps": 10**400}]}, "Stage.steps must be an int from 1"),
    "minutes without end": ({"max_minutes": 1e308}, "Recipe.max_minutes must be a finite number above 0, at most"),
    "a stage that is no list": ({"stages": {"steps": 3}}, "expected a list of tables"),
    "a frozen part that is no list": ({"freeze": "encoder"}, "expected a list, got 'encoder' in Recipe.freeze"),
    "a source without a callable": ({"data": {"a": {"source": "module"}}}, "source must be module:callable"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_recipe_is_an_error_that_names_the_field(case):
    tables, message = WRONG[case]
    with pytest.raises(ConfigError, match=message) as raised:
        Recipe.from_dict({"model": MODEL, **tables}, "recipe.toml")
    assert str(raised.value).startswith("recipe.toml: ")


def test_an_error_of_a_recipe_file_has_the_file(tmp_path):
    (tmp_path / "recipe.toml").write_text('[model]\ncheckpoint = "line-reader"\n[batch]\nsize = "3"\n')
    with pytest.raises(ConfigError, match=r"recipe\.toml: expected int, got '3' in Recipe\.batch\.size") as raised:
        Recipe.from_toml(tmp_path / "recipe.toml")
    assert raised.value.file == str(tmp_path / "recipe.toml")


def test_an_assigned_value_is_checked_and_the_error_has_its_data():
    plan = recipe()
    with pytest.raises(ConfigError) as raised:
        plan.optimizer.beta1 = 2.0
    assert (raised.value.field, raised.value.found) == ("beta1", 2.0)
    assert raised.value.expected == "a number of at least 0, below 1"


def test_a_file_that_is_not_toml_is_an_error(tmp_path):
    (tmp_path / "recipe.toml").write_text("a = = 3")
    (tmp_path / "deep.toml").write_text(f"a = {'[' * 10**5}")
    for name in ("recipe.toml", "absent.toml", "deep.toml"):
        with pytest.raises(ConfigError, match=rf"{name}: not a recipe that can be read"):
            Recipe.from_toml(tmp_path / name)


SOURCES = {
    "a module that is not there": (
        "absent_lines:f",
        "",
        "No module named 'absent_lines'; install it, or put it into",
    ),
    "a relative module": ("..:x", "", "TypeError: the 'package' argument is required"),
    "a callable that is not there": ("MODULE:f", "", "has no attribute 'f'; install it"),
    "a module that cannot be parsed": ("MODULE:f", "def f(:", "it raised: SyntaxError"),
    "a module that raises": ("MODULE:f", "1 / 0", "it raised: ZeroDivisionError: division by zero"),
    "a module that is a script": ("MODULE:f", "import sys; sys.exit()", r"it ended the program: SystemExit\(\)"),
    "what is not callable": ("MODULE:f", "f = 3", "it raised: TypeError: 'int' object is not callable"),
    "other options": ("MODULE:f", "def f(size): ...", "it raised: TypeError: .*unexpected keyword argument 'length'"),
    "a callable that raises": ("MODULE:f", "def f(length): raise OSError('a\\nb')", "it raised: OSError: a b$"),
    "an error of ours": (
        "MODULE:f",
        "from vedcore.training import Folder\ndef f(length): return Folder('absent')",
        "absent: no such folder",
    ),
    "what has no length": (
        "MODULE:f",
        "def f(length): yield",
        "not a data set, .* object of type 'generator' has no len",
    ),
    "nothing": ("MODULE:f", "def f(length): ...", "object of type 'NoneType' has no len"),
}


@pytest.mark.parametrize("case", SOURCES)
def test_every_error_of_a_source_is_a_config_error_that_names_the_source(case, tmp_path, monkeypatch):
    name, code, message = SOURCES[case]
    module = f"lines_{list(SOURCES).index(case)}"
    (tmp_path / f"{module}.py").write_text(code)
    monkeypatch.setattr("sys.path", [*sys.path])
    source = DataSource(source=name.replace("MODULE", module), options={"length": 3})
    with pytest.raises(ConfigError, match=message) as raised:
        source.open(tmp_path)
    assert str(raised.value).startswith(f"source {source.source!r}: ")
    assert raised.value.__cause__ is not None


def test_the_learning_rate_warms_up_and_then_falls():
    (stage,) = recipe(stages=[{"steps": 100, "lr": 2.0, "warmup": 9, "end": 0.1}]).stages
    rates = [learning_rate(stage, step, step / 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.2)
    assert rates.index(max(rates)) == 9
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[100] == pytest.approx(0.2)
    assert rates[50] == pytest.approx(2.0 * (0.1 + 0.9 / 2))


@pytest.mark.parametrize(("schedule", "half"), [("constant", 1.0), ("linear", 0.5), ("cosine", 0.5)])
def test_each_schedule_has_its_own_course(schedule, half):
    (stage,) = recipe(stages=[{"steps": 8, "lr": 1.0, "schedule": schedule}]).stages
    assert learning_rate(stage, 4, 0.5) == pytest.approx(half)
    assert learning_rate(stage, 4, 0.25) == pytest.approx(
        {"constant": 1.0, "linear": 0.75, "cosine": 0.8535534}[schedule]
    )
