"""Training runs: what they learn, that they resume to the bit, how they end, and what they refuse."""

import errno
import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from tests.training.tiny import TEXTS, Lines, draw, recipe, steps_of, write_folder
from vedcore.errors import CheckpointError, ConfigError, SaveError, TokenizerError, TrainingError
from vedcore.reader import Reader
from vedcore.training import Folder, Recipe, Sample, train
from vedcore.training import loop as loop_module
from vedcore.training import optimizer_state as optimizer_state_module
from vedcore.training.checkpoints import CheckpointFolder
from vedcore.training.evaluation import Score
from vedcore.training.log import read_log
from vedcore.training.state import read_state

NO_EVALUATION = {"evaluation": {"lines": 0}}


def weights_of(folder):
    return Reader.load(folder).model.state_dict()


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def stop_after(step, number=signal.SIGINT):
    """A watch that sends a signal once a checkpoint of ``step`` is written."""

    def watch(event, fields):
        if event == "checkpoint" and fields["step"] == step:
            os.kill(os.getpid(), number)

    return watch


def test_eight_lines_are_learned_by_heart_and_read_from_the_folder(tmp_path):
    plan = recipe(
        140,
        dropout=0.0,
        augmentation={},
        batch={"size": 8, "workers": 0},
        stages=[{"steps": 140, "lr": 2e-2, "warmup": 10}],
        evaluation={"data": "train", "every": 140},
        checkpoints={"every": 1000},
        optimizer={"weight_decay": 0.0},
    )
    result = train(plan, tmp_path / "out", Lines())
    assert (result.ended, result.step, result.score.cer, result.score.exact) == ("done", 140, 0.0, 8)
    reader = Reader.load(tmp_path / "out")
    assert [reading.text for reading in reader.read([draw(text) for text in TEXTS])] == list(TEXTS)
    assert reader.model.untrained == []


def test_what_is_trained_transformers_reads(tmp_path):
    from transformers import VisionEncoderDecoderModel

    train(recipe(2, **NO_EVALUATION), tmp_path / "out", Lines())
    theirs, report = VisionEncoderDecoderModel.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(report.values())
    reader = Reader.load(tmp_path / "out")
    pixels = reader.processor.image_processor(draw("one")).pixel_values
    ids = torch.tensor([[1, 5, 6]])
    with torch.no_grad():
        expected = theirs.eval()(pixel_values=pixels, decoder_input_ids=ids).logits
        assert torch.allclose(reader.model(pixels, ids).logits, expected, atol=1e-5)


@pytest.mark.parametrize("stop_at", [3, 6, 9])
def test_a_run_that_is_interrupted_goes_on_as_if_it_had_not_been(stop_at, tmp_path):
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
def test_sigterm_and_sighup_end_a_run_as_ctrl_c_does(number, tmp_path):
    before = signal.getsignal(number)
    result = train(recipe(9), tmp_path / "out", Lines(), watch=stop_after(3, number))
    assert (result.ended, CheckpointFolder(tmp_path / "out", 2).newest().name) == (
        "interrupted",
        f"step-{result.step:08d}",
    )
    assert result.step < 9
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(number)) == (signal.default_int_handler, before)


def test_a_terminal_that_hangs_up_twice_still_lets_the_run_save(tmp_path):
    def watch(event, fields):
        if event == "progress" and fields["step"] == 4:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGHUP)

    result = train(recipe(9), tmp_path / "out", Lines(), watch=watch)
    assert (result.ended, CheckpointFolder(tmp_path / "out", 2).newest().name) == (
        "interrupted",
        f"step-{result.step:08d}",
    )


def test_under_nohup_a_terminal_that_hangs_up_ends_nothing(tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert train(recipe(5), tmp_path / "out", Lines(), watch=stop_after(3, signal.SIGHUP)).ended == "done"
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_run_that_got_no_further_than_its_start_is_resumed_by_any_recipe(tmp_path):
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


def test_the_time_is_a_limit_that_saves_and_leaves(tmp_path):
    result = train(recipe(10_000, max_minutes=0.005), tmp_path / "out", Lines())
    assert result.ended == "time"
    assert 0 < result.step < 10_000
    assert Reader.load(tmp_path / "out").read([draw("one")])


def test_a_run_without_time_for_a_step_leaves_nothing_to_read(tmp_path):
    result = train(recipe(3, max_minutes=1e-9), tmp_path / "out", Lines())
    assert (result.ended, result.step, result.score) == ("time", 0, None)
    assert not (tmp_path / "out/config.json").exists()
    assert train(recipe(3), tmp_path / "out", Lines(), resume=True).step == 3


def test_a_stage_of_minutes_ends_and_its_rate_falls_with_the_time(tmp_path):
    plan = recipe(stages=[{"minutes": 0.01, "lr": 1e-3}, {"steps": 2, "lr": 5e-4}], **NO_EVALUATION)
    result = train(plan, tmp_path / "out", Lines())
    stages = [step["stage"] for step in steps_of(tmp_path / "out")]
    rates = [step["lr"] for step in steps_of(tmp_path / "out") if step["stage"] == 0]
    assert (result.ended, stages.count(1)) == ("done", 2)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < rates[0] <= 1e-3


def test_what_is_learned_does_not_depend_on_the_workers(tmp_path):
    for workers in (0, 2):
        train(recipe(4, batch={"size": 4, "workers": workers}), tmp_path / str(workers), Lines())
    assert steps_of(tmp_path / "0") == steps_of(tmp_path / "2")


def test_a_run_may_be_resumed_with_other_workers(tmp_path):
    train(recipe(6), tmp_path / "out", Lines(), watch=stop_after(3))
    plan = recipe(6, batch={"size": 4, "workers": 1}, max_minutes=5)
    assert train(plan, tmp_path / "out", Lines(), resume=True).step == 6


@pytest.mark.parametrize("accumulation", [2, 4])
def test_accumulation_is_the_whole_batch(accumulation, tmp_path):
    for parts in (1, accumulation):
        plan = recipe(3, dropout=0.0, batch={"size": 4, "workers": 0, "accumulation": parts}, **NO_EVALUATION)
        train(plan, tmp_path / str(parts), Lines())
    whole, parts = steps_of(tmp_path / "1"), steps_of(tmp_path / str(accumulation))
    assert [step["norm"] for step in parts] == pytest.approx([step["norm"] for step in whole], rel=1e-5)
    for name in ("loss", "ctc"):
        assert [step[name] for step in parts] == pytest.approx([step[name] for step in whole], rel=1e-5)


def test_a_seed_is_a_run(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(recipe(2, seed=seed, **NO_EVALUATION), tmp_path / name, Lines())
    assert steps_of(tmp_path / "a") == steps_of(tmp_path / "b")
    assert steps_of(tmp_path / "a") != steps_of(tmp_path / "c")


def test_training_leaves_the_random_state_of_the_caller_alone(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    train(recipe(2, **NO_EVALUATION), tmp_path / "out", Lines())
    assert torch.equal(torch.rand(1), expected)


def test_the_last_checkpoints_stay_and_the_best(tmp_path):
    plan = recipe(9, checkpoints={"every": 2, "keep": 2}, evaluation={"data": "train", "every": 3, "lines": 8})
    train(plan, tmp_path / "out", Lines())
    kept = sorted(int(path.name[5:]) for path in (tmp_path / "out/checkpoints").iterdir())
    state = read_state(CheckpointFolder(tmp_path / "out", 2).newest())
    assert set(kept[-2:]) == {8, 9}
    assert set(kept) == {8, 9, state.position.best_step}
    assert same(
        weights_of(tmp_path / "out"),
        weights_of(tmp_path / f"out/checkpoints/step-{state.position.best_step:08d}/model"),
    )


def test_the_best_model_outlasts_a_stop_at_a_step_that_was_saved_before_it_was_evaluated(tmp_path, monkeypatch):
    rates, now = [0.4, 0.1, 0.3, 0.3], time.monotonic
    monkeypatch.setattr(loop_module, "evaluate", lambda *a, **k: Score(8, 0, rates.pop(0), 1.0, 0.1, 9.0))
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


def test_a_report_keeps_the_last_evaluation_when_a_resumed_run_is_stopped_before_another(tmp_path):
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


def test_a_finished_run_that_is_resumed_has_each_evaluation_once(tmp_path):
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


def test_a_checkpoint_is_tensors_and_json_and_nothing_that_runs(tmp_path):
    train(recipe(3, **NO_EVALUATION), tmp_path / "out", Lines())
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".jsonl", ".html", ".safetensors"}


def test_a_checkpoint_is_continued_from_and_its_frozen_part_stays(tmp_path):
    train(recipe(3, **NO_EVALUATION), tmp_path / "first", Lines())
    plan = Recipe.from_dict(
        {
            "model": {"checkpoint": str(tmp_path / "first")},
            "stages": [{"steps": 2, "lr": 1e-2}],
            "batch": {"size": 4, "workers": 0},
            "freeze": ["encoder"],
            "gradient_checkpointing": True,
            "optimizer": {"pace": {"decoder.cross": 10.0}},
            "evaluation": {"lines": 0},
        }
    )
    train(plan, tmp_path / "second", Lines())
    first, second = weights_of(tmp_path / "first"), weights_of(tmp_path / "second")
    changed = {name.split(".")[0] for name in first if not torch.equal(first[name], second[name])}
    assert changed == {"decoder"}


def test_products_in_bfloat16_leave_the_weights_in_float32_and_resume(tmp_path):
    for name, settings in (("float32", {}), ("whole", {"precision": "bfloat16"})):
        train(recipe(6, **settings), tmp_path / name, Lines())
    train(recipe(6, precision="bfloat16"), tmp_path / "parts", Lines(), watch=stop_after(3))
    train(recipe(6, precision="bfloat16"), tmp_path / "parts", Lines(), resume=True)
    assert {value.dtype for value in weights_of(tmp_path / "whole").values()} == {torch.float32}
    losses = [[step["loss"] for step in steps_of(tmp_path / name)] for name in ("whole", "float32")]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
    assert losses[0] != losses[1]
    assert steps_of(tmp_path / "parts") == steps_of(tmp_path / "whole")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU has float16")
def test_a_precision_that_the_device_does_not_have_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="precision = 'float16' is not available on cpu"):
        train(recipe(3, precision="float16"), tmp_path / "out", Lines())


def test_pace_holds_when_a_run_of_new_tensors_is_resumed(tmp_path):
    plan = recipe(6, optimizer={"pace": {"new": 3.0}})
    train(plan, tmp_path / "whole", Lines())
    train(plan, tmp_path / "parts", Lines(), watch=stop_after(3))
    train(plan, tmp_path / "parts", Lines(), resume=True)
    assert steps_of(tmp_path / "parts") == steps_of(tmp_path / "whole")


def test_lines_that_are_read_are_not_learned_from(tmp_path):
    asked, after_steps = [], []

    class Watched(Lines):
        def __len__(self):
            return 40

        def __getitem__(self, index):
            asked.append(index)
            return super().__getitem__(index % 8)

    def watch(event, fields):
        after_steps.extend([len(asked)] * (event == "progress"))

    plan = recipe(20, evaluation={"lines": 8, "every": 100})
    assert train(plan, tmp_path / "out", Watched(), watch=watch).score.lines == 4
    learned, read = asked[after_steps[-1] - 80 : after_steps[-1]], asked[after_steps[-1] :]
    assert asked[:40] == list(range(40))
    assert set(learned) | set(read) == set(range(40))
    assert not set(learned) & set(read)


# What is refused, and what a failure leaves.


def test_bad_data_is_refused_before_a_run_or_left_out_and_counted(tmp_path):
    folder = write_folder(tmp_path / "lines")
    (folder / "1.png").write_bytes(b"not a picture")
    with (folder / "labels.jsonl").open("a") as rows:
        rows.write('{"file": "9.png", "text": "nine"}\n')
    with pytest.raises(
        TrainingError, match=r"2 samples cannot be used:\n.*9\.png: missing image.*\n.*1\.png: unreadable"
    ):
        train(recipe(2), tmp_path / "out", folder)
    result = train(recipe(3), tmp_path / "other", folder, skip_bad=True)
    (record,) = [record for record in read_log(tmp_path / "other") if record["event"] == "skipped"]
    assert (result.skipped, record["counts"]) == (2, {"missing image": 1, "unreadable image": 1})
    page = (tmp_path / "other/report.html").read_text()
    assert "left out: missing image" in page
    assert "9.png" in page
    assert train(recipe(3), tmp_path / "other", folder, skip_bad=True, resume=True).skipped == 2


class TurnsBad(Lines):
    """Longer than what is looked at before a run, and bad behind that."""

    def __len__(self):
        return 400

    def __getitem__(self, index):
        return super().__getitem__(index % 8) if index < 200 else Sample(draw("x"), "caf\u00e9", f"line {index}")


def test_data_that_turns_bad_under_way_stops_the_run_or_is_counted(tmp_path):
    with pytest.raises(TrainingError, match=r"step 1: line \d+: unwritable character .*--skip-bad"):
        train(recipe(3, **NO_EVALUATION), tmp_path / "out", TurnsBad())
    plan = recipe(4, batch={"size": 8, "workers": 0}, **NO_EVALUATION)
    whole = train(plan, tmp_path / "whole", TurnsBad(), skip_bad=True)
    assert 0 < whole.skipped < 32
    train(plan, tmp_path / "parts", TurnsBad(), skip_bad=True, watch=stop_after(3))
    assert train(plan, tmp_path / "parts", TurnsBad(), skip_bad=True, resume=True).skipped == whole.skipped
    assert read_log(tmp_path / "parts") == read_log(tmp_path / "whole")


def test_a_batch_without_a_usable_sample_is_an_error(tmp_path):
    class Bad(TurnsBad):
        def __getitem__(self, index):
            return super().__getitem__(0 if self.looking.pop() else 300)

        looking = [False] * 50 + [True] * 200

    with pytest.raises(TrainingError, match="step 1: no sample of its batch can be used: line 300"):
        train(recipe(3, **NO_EVALUATION), tmp_path / "out", Bad(), skip_bad=True)


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step_and_its_images(tmp_path):
    plan = recipe(
        5, stages=[{"steps": 3, "lr": 1e-3}, {"steps": 3, "lr": 1e30}], optimizer={"clip": 0.0}, **NO_EVALUATION
    )
    with pytest.raises(
        TrainingError, match=r"step 5: the loss is .*images of this step are line \d, .*checkpoint is .*step-00000003"
    ):
        train(plan, tmp_path / "out", Lines())
    newest = CheckpointFolder(tmp_path / "out", 2).newest()
    assert all(value.isfinite().all() for value in weights_of(newest / "model").values())
    assert [step["step"] for step in steps_of(tmp_path / "out")] == [1, 2, 3, 4]


def test_a_full_disk_is_an_error_and_the_old_checkpoint_stays(tmp_path, monkeypatch):
    write = optimizer_state_module.write_tensors

    def full(folder, *rest):
        write(folder, *rest)
        raise OSError(errno.ENOSPC, "No space left on device")

    def watch(event, fields):
        if event == "checkpoint":
            monkeypatch.setattr(optimizer_state_module, "write_tensors", full)

    with pytest.raises(SaveError, match=r"step-00000004: not saved, .*No space left"):
        train(recipe(9), tmp_path / "out", Lines(), watch=watch)
    assert sorted(path.name for path in (tmp_path / "out/checkpoints").iterdir()) == ["step-00000003"]
    monkeypatch.undo()
    train(recipe(9), tmp_path / "out", Lines(), resume=True)
    train(recipe(9), tmp_path / "whole", Lines())
    assert steps_of(tmp_path / "out") == steps_of(tmp_path / "whole")


def test_a_log_that_cannot_be_written_is_an_error(tmp_path):
    def watch(event, fields):
        if event == "progress" and fields["step"] == 2:
            (tmp_path / "out/log.jsonl").unlink()
            (tmp_path / "out/log.jsonl").symlink_to("/dev/full")

    with pytest.raises(SaveError, match=r"log\.jsonl: not written .*No space left"):
        train(recipe(3), tmp_path / "out", Lines(), watch=watch)


def test_a_folder_with_a_run_is_not_written_over(tmp_path):
    train(recipe(2, **NO_EVALUATION), tmp_path / "out", Lines())
    with pytest.raises(ConfigError, match=r"out: already holds a run; resume it \(--resume"):
        train(recipe(2, **NO_EVALUATION), tmp_path / "out", Lines())
    with pytest.raises(ConfigError, match="no run to resume"):
        train(recipe(2, **NO_EVALUATION), tmp_path / "new", Lines(), resume=True)
    with pytest.raises(ConfigError, match="model: already holds a checkpoint"):
        train(recipe(2, **NO_EVALUATION), (tmp_path / "out/checkpoints/step-00000002/model"), Lines())


@pytest.mark.parametrize("out", ["", "out", "deep/out", "../lines"])
def test_a_run_does_not_mix_with_the_images_it_learns_from(out, tmp_path):
    lines = write_folder(tmp_path / "lines")
    before = sorted(lines.iterdir())
    with pytest.raises(ConfigError, match=r"is inside .*lines, the folder of data set 'train'; choose a folder outside"):
        train(recipe(2, **NO_EVALUATION), lines / out, lines)
    assert sorted(lines.iterdir()) == before


def test_a_run_that_failed_before_its_first_checkpoint_is_in_nobodys_way(tmp_path):
    plan = recipe(2, stages=[{"steps": 5, "lr": 1e30}], optimizer={"clip": 0.0}, **NO_EVALUATION)
    with pytest.raises(TrainingError, match="there is no checkpoint yet"):
        train(plan, tmp_path / "out", Lines())
    assert train(recipe(2, **NO_EVALUATION), tmp_path / "out", Lines()).step == 2
    assert len(steps_of(tmp_path / "out")) == 2


def test_a_run_is_resumed_with_its_own_recipe_and_data_alone(tmp_path):
    train(recipe(2, **NO_EVALUATION), tmp_path / "out", Lines())
    with pytest.raises(ConfigError, match=r"recipe\.seed was 0, is 3"):
        train(recipe(2, seed=3, **NO_EVALUATION), tmp_path / "out", Lines(), resume=True)
    with pytest.raises(ConfigError, match=r"data\.train was 8, is 400"):
        train(recipe(2, **NO_EVALUATION), tmp_path / "out", TurnsBad(), resume=True)


def test_a_resumed_run_that_differs_in_a_stage_is_refused_by_its_field(tmp_path):
    plan = recipe(2, stages=[{"steps": 2}, {"steps": 60, "lr": 1e-3}], freeze=["decoder"], **NO_EVALUATION)
    train(plan, tmp_path / "out", Lines(), watch=stop_after(3))
    other = recipe(2, stages=[{"steps": 2}, {"steps": 90, "lr": 1e-3}], freeze=["decoder", "adapter"], **NO_EVALUATION)
    differ = r"\(recipe\.freeze\[1\] was None, is 'adapter'; recipe\.stages\[1\]\.steps was 60, is 90\)"
    with pytest.raises(ConfigError, match=differ):
        train(other, tmp_path / "out", Lines(), resume=True)


def test_a_run_is_resumed_with_the_names_and_texts_of_its_folder_alone(tmp_path):
    plan, out = recipe(2, **NO_EVALUATION), tmp_path / "out"
    train(plan, out, write_folder(tmp_path / "lines"))
    reversed_texts = write_folder(tmp_path / "reversed", texts=tuple(text[::-1] for text in TEXTS))
    with pytest.raises(
        ConfigError, match=r"started with other settings \(digest of names and texts in data\.train was '\w+', is "
    ):
        train(plan, out, reversed_texts, resume=True)
    moved = write_folder(tmp_path / "moved", "csv")
    assert train(plan, out, moved, resume=True).step == 2


def test_a_run_that_began_without_a_digest_is_resumed(tmp_path):
    plan, lines = recipe(2, **NO_EVALUATION), write_folder(tmp_path / "lines")
    train(plan, tmp_path / "out", lines)
    path = tmp_path / "out/recipe.json"
    started = json.loads(path.read_text())
    del started["digests"]
    path.write_text(json.dumps(started))
    assert train(plan, tmp_path / "out", lines, resume=True).step == 2


@pytest.mark.parametrize(
    ("tables", "data", "message"),
    [
        ({}, None, r"no data set 'train' \(the data sets are: none\); pass DATA"),
        ({"stages": [{"steps": 1, "data": "mine"}]}, Lines(), r"no data set 'mine' .*add \[data\.mine\]"),
        ({"evaluation": {"lines": 8}}, Lines(), "has 8 samples, too few to hold out a tenth"),
        ({"freeze": ["*"], **NO_EVALUATION}, Lines(), "leaves no parameter to learn"),
        ({"optimizer": {"beta1": 1.0}, **NO_EVALUATION}, Lines(), "beta"),
        ({"freeze": ["encode"], **NO_EVALUATION}, Lines(), "no parameter matches 'encode'; near are encoder"),
        (
            {"data": {"mine": {"source": "no_such_module:f"}}, "stages": [{"steps": 1, "data": "mine"}]},
            None,
            "no_such_module",
        ),
    ],
)
def test_a_run_that_cannot_be_is_refused(tables, data, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        train(recipe(2, **tables), tmp_path / "out", data)


def test_a_run_can_take_its_data_from_a_module_beside_its_recipe(tmp_path):
    (tmp_path / "lines_of_mine.py").write_text(
        "from vedcore.training import Folder\n\ndef load(name):\n    return Folder(name)\n"
    )
    folder = write_folder(tmp_path / "lines")
    tables = {
        "data": {
            "mine": {"source": "lines_of_mine:load", "options": {"name": str(folder)}},
            "same": {"folder": "lines"},
        },
        "stages": [{"steps": 2, "data": "mine"}],
        "evaluation": {"data": "same", "lines": 3},
    }
    assert train(recipe(2, **tables), tmp_path / "out", beside=tmp_path).score.lines == 3
    assert len(Folder(folder)) == 8


def test_a_model_is_refused_that_its_tokenizer_or_its_images_do_not_fit(tmp_path):
    model = recipe().model
    small = {**model.decoder, "vocab_size": 20}
    with pytest.raises(TokenizerError, match="the decoder's vocabulary has 20 tokens"):
        train(recipe(model={**recipe().to_dict()["model"], "decoder": small}), tmp_path / "a", Lines())
    processor = {"size": {"shortest_edge": 16}}
    with pytest.raises(ConfigError, match="images of unequal sizes"):
        train(recipe(model={**recipe().to_dict()["model"], "image_processor": processor}), tmp_path / "b", Lines())


def test_what_killed_saves_left_is_swept_when_a_run_is_resumed(tmp_path):
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
def test_a_checkpoint_that_somebody_spoiled_is_refused_with_its_file(spoil, message, tmp_path):
    train(recipe(4, **NO_EVALUATION), tmp_path / "out", Lines(), watch=stop_after(3))
    spoil(CheckpointFolder(tmp_path / "out", 2).newest())
    with pytest.raises(CheckpointError, match=message):
        train(recipe(4, **NO_EVALUATION), tmp_path / "out", Lines(), resume=True)


def test_an_image_that_goes_bad_under_way_is_named(tmp_path):
    folder = write_folder(tmp_path / "lines")

    def watch(event, fields):
        (folder / "2.png").write_bytes(b"gone")

    with pytest.raises(TrainingError, match=r"step \d: .*2\.png: unreadable image"):
        train(recipe(9, **NO_EVALUATION), tmp_path / "out", folder, watch=watch)


def test_from_a_thread_a_run_goes_as_well(tmp_path):
    with ThreadPoolExecutor() as threads:
        assert threads.submit(train, recipe(2, **NO_EVALUATION), tmp_path / "out", Lines()).result().step == 2
