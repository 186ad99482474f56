"""Stopping and resuming: a resumed run continues bit for bit."""

import json
import os
import signal
import time

import pytest
import torch

from tests.training.tiny import NO_EVALUATION, Lines, draw, recipe, same, steps_of, stop_after, weights_of
from vedcore.errors import CheckpointError, ConfigError
from vedcore.model import VisionEncoderDecoderModel
from vedcore.reader import Reader
from vedcore.training import evaluator as evaluator_module
from vedcore.training import train
from vedcore.training.checkpoints import CheckpointFolder
from vedcore.training.evaluation import Score
from vedcore.training.log import read_log
from vedcore.training.state import read_state


@pytest.mark.parametrize("stop_at", [3, 6, 9])
def test_an_interrupted_run_resumes_bit_for_bit(stop_at, tmp_path):
    plan = recipe(5, stages=[{"steps": 7, "lr": 5e-3, "warmup": 2}, {"steps": 4, "lr": 1e-3}])
    train(plan, tmp_path / "whole", Lines())
    result = train(plan, tmp_path / "parts", Lines(), watch=stop_after(stop_at))
    assert result.ended == "interrupted"
    assert result.step < 11
    assert train(plan, tmp_path / "parts", Lines(), resume=True).step == 11
    assert steps_of(tmp_path / "parts") == steps_of(tmp_path / "whole")
    assert [step["step"] for step in steps_of(tmp_path / "whole")] == list(range(1, 12))
    assert same(weights_of(tmp_path / "parts"), weights_of(tmp_path / "whole"))
    assert json.loads((tmp_path / "parts/recipe.json").read_text()) == json.loads(
        (tmp_path / "whole/recipe.json").read_text()
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_sigterm_and_sighup_end_a_run_like_ctrl_c(number, tmp_path):
    before = signal.getsignal(number)
    result = train(recipe(9), tmp_path / "out", Lines(), watch=stop_after(3, number))
    assert (result.ended, CheckpointFolder(tmp_path / "out", 2).newest().name) == (
        "interrupted",
        f"step-{result.step:08d}",
    )
    assert result.step < 9
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(number)) == (signal.default_int_handler, before)


def test_a_run_saves_even_if_its_terminal_sends_two_hangups(tmp_path):
    def watch(event, fields):
        if event == "progress" and fields["step"] == 4:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGHUP)

    result = train(recipe(9), tmp_path / "out", Lines(), watch=watch)
    assert (result.ended, CheckpointFolder(tmp_path / "out", 2).newest().name) == (
        "interrupted",
        f"step-{result.step:08d}",
    )


def test_under_nohup_a_hangup_does_not_end_the_run(tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert train(recipe(5), tmp_path / "out", Lines(), watch=stop_after(3, signal.SIGHUP)).ended == "done"
    finally:
        signal.signal(signal.SIGHUP, before)


def test_no_run_prepares_the_model_that_it_trains_and_evaluates(tmp_path, monkeypatch):
    monkeypatch.setattr(VisionEncoderDecoderModel, "prepare", lambda _: pytest.fail("a model was prepared"))
    plan, out = recipe(6, evaluation={"data": "train", "lines": 8, "every": 2}), tmp_path / "out"
    assert train(plan, out, Lines(), watch=stop_after(3)).step < 6
    assert train(plan, out, Lines(), resume=True).score.lines == 8
    continued = recipe(2, model={"checkpoint": str(out)}, evaluation={"data": "train", "lines": 8, "every": 2})
    assert train(continued, tmp_path / "continued", Lines()).score.lines == 8


def test_a_run_without_a_checkpoint_starts_again_with_any_recipe(tmp_path):
    def stop(event, fields):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe(3), tmp_path / "out", Lines(), watch=stop)
    assert train(recipe(4), tmp_path / "out", Lines(), resume=True).step == 4
    with pytest.raises(ConfigError, match=r"stages\[0\]\.steps was 4, is 3"):
        train(recipe(3), tmp_path / "out", Lines(), resume=True)


def test_a_second_ctrl_c_ends_a_run_at_once(tmp_path):
    def watch(event, fields):
        if event == "progress" and fields["step"] == 4:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(recipe(9), tmp_path / "out", Lines(), watch=watch)
    assert train(recipe(9), tmp_path / "out", Lines(), resume=True).step == 9


def test_a_run_saves_and_stops_after_max_minutes(tmp_path):
    result = train(recipe(10_000, max_minutes=0.005), tmp_path / "out", Lines())
    assert result.ended == "time"
    assert 0 < result.step < 10_000
    assert Reader.load(tmp_path / "out").read([draw("one")])


def test_a_run_without_time_for_a_step_publishes_no_model(tmp_path):
    result = train(recipe(3, max_minutes=1e-9), tmp_path / "out", Lines())
    assert (result.ended, result.step, result.score) == ("time", 0, None)
    assert not (tmp_path / "out/config.json").exists()
    assert train(recipe(3), tmp_path / "out", Lines(), resume=True).step == 3


def test_a_run_can_resume_with_another_number_of_workers(tmp_path):
    train(recipe(6), tmp_path / "out", Lines(), watch=stop_after(3))
    plan = recipe(6, batch={"size": 4, "workers": 1}, max_minutes=5)
    assert train(plan, tmp_path / "out", Lines(), resume=True).step == 6


def test_the_best_step_is_kept_when_a_run_stops_after_saving_but_before_evaluating_it(tmp_path, monkeypatch):
    rates, now = [0.4, 0.1, 0.3, 0.3], time.monotonic
    monkeypatch.setattr(evaluator_module, "evaluate", lambda *a, **k: Score(8, 0, rates.pop(0), 1.0, 0.1, 9.0))
    plan, out = recipe(9, max_minutes=30, checkpoints={"every": 3, "keep": 1}), tmp_path / "out"

    def watch(event, fields):
        if event == "checkpoint" and fields["step"] == 6:
            monkeypatch.setattr(time, "monotonic", lambda: now() + 3600)

    stopped = train(plan, out, Lines(), watch=watch)
    monkeypatch.setattr(time, "monotonic", now)
    best = weights_of(out)
    assert (stopped.ended, stopped.step, stopped.best_step, stopped.best_cer) == ("time", 6, 6, 0.1)
    assert read_state(CheckpointFolder(out, 1).newest()).position.best_step == 6
    done = train(plan, out, Lines(), resume=True)
    assert (done.ended, done.step, done.best_step, done.best_cer) == ("done", 9, 6, 0.1)
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["step-00000006", "step-00000009"]
    assert same(weights_of(out), best)
    assert "the model of step 6, character error rate 10.00%" in (out / "report.html").read_text()


def test_a_resumed_run_that_stops_before_an_evaluation_keeps_the_report(tmp_path):
    plan, out = recipe(20, evaluation={"data": "train", "lines": 8, "every": 12}), tmp_path / "out"
    train(plan, out, Lines(), watch=stop_after(12))
    page = (out / "report.html").read_text()
    assert "The worst lines" in page
    stopped = train(plan, out, Lines(), resume=True, watch=stop_after(15))
    assert (stopped.ended, stopped.score, stopped.step < 18) == ("interrupted", None, True)
    assert (out / "report.html").read_text() == page
    (out / "report.html").unlink()
    train(plan, out, Lines(), resume=True, watch=stop_after(18))
    assert "last evaluation" in (out / "report.html").read_text()


def test_resuming_a_finished_run_logs_each_evaluation_once(tmp_path):
    first = train(recipe(6), tmp_path / "out", Lines())
    log = read_log(tmp_path / "out")
    again = train(recipe(6), tmp_path / "out", Lines(), resume=True)
    assert [record["step"] for record in log if record["event"] == "evaluation"] == [4, 6]
    assert read_log(tmp_path / "out") == log
    assert (again.score.cer, again.score.worst, again.best_step) == (
        first.score.cer,
        first.score.worst,
        first.best_step,
    )


def test_bfloat16_keeps_the_weights_in_float32_and_resumes_bit_for_bit(tmp_path):
    for name, settings in (("float32", {}), ("whole", {"precision": "bfloat16"})):
        train(recipe(6, **settings), tmp_path / name, Lines())
    train(recipe(6, precision="bfloat16"), tmp_path / "parts", Lines(), watch=stop_after(3))
    train(recipe(6, precision="bfloat16"), tmp_path / "parts", Lines(), resume=True)
    assert {value.dtype for value in weights_of(tmp_path / "whole").values()} == {torch.float32}
    losses = [[step["loss"] for step in steps_of(tmp_path / name)] for name in ("whole", "float32")]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
    assert losses[0] != losses[1]
    assert steps_of(tmp_path / "parts") == steps_of(tmp_path / "whole")


def test_the_pace_of_new_tensors_survives_resuming(tmp_path):
    plan = recipe(6, optimizer={"pace": {"new": 3.0}})
    train(plan, tmp_path / "whole", Lines())
    train(plan, tmp_path / "parts", Lines(), watch=stop_after(3))
    train(plan, tmp_path / "parts", Lines(), resume=True)
    assert steps_of(tmp_path / "parts") == steps_of(tmp_path / "whole")


def test_resuming_removes_what_killed_saves_left(tmp_path):
    train(recipe(4, **NO_EVALUATION), tmp_path / "out", Lines(), watch=stop_after(3))
    left = tmp_path / "out/checkpoints/.step-00000003.tmp-1-dead"
    left.mkdir()
    with (tmp_path / "out/log.jsonl").open("a") as log:
        log.write('{"event": "step", "st')
    assert train(recipe(4, **NO_EVALUATION), tmp_path / "out", Lines(), resume=True).step == 4
    assert not left.exists()
    assert [step["step"] for step in steps_of(tmp_path / "out")] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda path: (path / "state.json").write_text('{"position": {"step": 3, "age": 1}}'),
            r"not the state of a run: .*Position has no field 'age'",
        ),
        (lambda path: (path / "state/model.safetensors").write_bytes(b"torn"), "state/model.safetensors"),
        (lambda path: (path / "model/model.safetensors").unlink(), "no model.safetensors"),
    ],
)
def test_a_damaged_checkpoint_is_refused_with_its_file(spoil, message, tmp_path):
    train(recipe(4, **NO_EVALUATION), tmp_path / "out", Lines(), watch=stop_after(3))
    spoil(CheckpointFolder(tmp_path / "out", 2).newest())
    with pytest.raises(CheckpointError, match=message):
        train(recipe(4, **NO_EVALUATION), tmp_path / "out", Lines(), resume=True)
