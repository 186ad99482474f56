"""The commands train and eval."""

import errno
import json
import os
import re
import signal

import pytest
from typer.testing import CliRunner

from tests.training.tiny import TEXTS, recipe, write_archive, write_folder, write_recipe
from vedcore.cli import app
from vedcore.reader import Reader
from vedcore.training import Recipe, Score, evaluator
from vedcore.training.options import FINE_TUNING, TrainingOptions
from vedcore.training.recipe import KeepSettings, Stage
from vedcore.vision import Augmentation


@pytest.fixture
def folders(tmp_path):
    def write(steps=3, **tables):
        return write_recipe(tmp_path / "recipe.toml", recipe(steps, **tables))

    return write_folder(tmp_path / "lines"), write, tmp_path / "out"


def vedcore(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_train_writes_a_reader_and_reports_progress(folders):
    lines, write, out = folders
    done = vedcore("train", lines, "--recipe", write(4), "--out", out)
    assert done.exit_code == 0, done.output
    assert re.search(r"step 4/4  loss \d+\.\d+  lr \d\.\d\de-\d\d  \d+ images/s  0:00:0\d left", done.stderr)
    assert re.search(r"step 4  CER \d+\.\d\d%  WER \d+\.\d\d%  exact \d/8", done.stderr)
    assert "vedcore read --model" in done.stdout
    assert Reader.load(out).read([lines / "0.png"])
    again = vedcore("train", lines, "--recipe", write(4), "--out", out)
    assert (again.exit_code, "already holds a run" in again.stderr) == (2, True)


def test_train_check_prints_each_problem_and_exits(folders):
    lines, write, out = folders
    assert vedcore("train", lines, "--recipe", write(), "--check").exit_code == 0
    (lines / "2.png").unlink()
    (lines / "labels.jsonl").write_text((lines / "labels.jsonl").read_text().replace('"one"', '"caf\u00e9"'))
    found = vedcore("train", lines, "--recipe", write(), "--check", "--out", out)
    assert found.exit_code == 1
    assert "2.png: missing image" in found.stdout
    assert "0.png: unwritable character ('\u00e9' (U+00E9)" in found.stdout
    assert "train: 6 samples to learn from, 2 problems\n" in found.stderr
    assert not out.exists()
    (lines / "labels.jsonl").write_text('{"file": "0.png", "text": "one"}\n{"file": "absent.png", "text": "two"}\n')
    for path in lines.glob("[1-9].png"):
        path.unlink()
    found = vedcore("train", lines, "--recipe", write(), "--check")
    assert found.stderr == "train: 1 sample to learn from, 1 problem\n"
    refused = vedcore("train", lines, "--recipe", write(), "--out", out)
    assert (refused.exit_code, "1 sample cannot be used" in refused.stderr) == (2, True)


def test_train_skips_bad_samples_with_skip_bad(folders):
    lines, write, out = folders
    (lines / "2.png").unlink()
    done = vedcore("train", lines, "--recipe", write(), "--out", out, "--skip-bad")
    assert done.exit_code == 0, done.output
    assert "left out: 1 missing image" in done.stderr
    assert "1 sample left out; " in done.stderr


def test_train_stops_after_max_minutes_and_resumes(folders):
    lines, write, out = folders
    stopped = vedcore("train", lines, "--recipe", write(30), "--out", out, "--max-minutes", 0.0001)
    assert stopped.exit_code == 0, stopped.output
    assert "stopped after step" in stopped.stderr
    assert "--resume" in stopped.stderr
    done = vedcore("train", lines, "--recipe", write(30), "--out", out, "--resume")
    assert (done.exit_code, "ended after 30 steps: all steps are done" in done.stdout) == (0, True), done.output


def test_the_end_of_a_run_says_why_it_ended_and_what_it_brought(folders, monkeypatch):
    lines, write, out = folders
    vedcore("train", lines, "--recipe", write(), "--out", out)
    write_archive(out / "lines.zip", TEXTS * 2)
    plan = Recipe.from_dict({**recipe().to_dict(), "model": {"checkpoint": str(out)}})
    tuning = write_recipe(out.parent / "tuning.toml", plan)
    rates = [0.3, 0.5, 0.4, 0.25, 0.4, 0.5, 0.4, 0.5]  # kept lines first, then the held-out lines
    monkeypatch.setattr(evaluator, "evaluate", lambda *a, **k: Score(8, 0, rates.pop(0), 1.0, 0.1, 9.0))
    arguments = ("--recipe", tuning, "--out", out.parent / "tuned", "--steps", 30, "--patience", 2, "--keep")
    done = vedcore("train", lines, *arguments)
    assert done.exit_code == 0, done.output
    assert re.search(
        r"step 4  CER 25\.00%.*validation loss \d\.\d+  kept lines: CER 40\.00%.*the best so far", done.stderr
    )
    assert done.stdout == (
        f"{out.parent}/tuned: ended after 12 steps: 2 evaluations in a row had no fewer errors (--patience)\n"
        "  CER 50.00% before training, 25.00% after it (step 4, the best)\n"
        "  CER 30.00% before training, 40.00% after it on kept lines\n"
        f"  read with: vedcore read --model {out.parent}/tuned IMAGES\n"
    )
    rates[:] = [0.1, 0.2, 0.3]
    worse = vedcore("train", lines, "--recipe", tuning, "--out", out.parent / "worse", "--epochs", 2.5)
    assert "all steps are done\n  CER 10.00% before training, 10.00% after it (step 0, the best)\n" in worse.stdout
    assert "training did not improve the reader" in worse.stdout


def test_an_option_overrides_the_value_of_the_recipe_and_without_one_that_of_fine_tuning():
    given = recipe(stages=[{"steps": 9, "lr": 1e-3}, {"minutes": 3, "lr": 1e-4}], threads=1)
    plan = TrainingOptions(
        lr=2e-3, epochs=4, augment=True, patience=5, keep_share=0.5, threads=2, tensorboard=True
    ).applied_to(Recipe.from_dict({**given.to_dict(), "keep": {"data": "print", "lines": 7}}))
    assert plan.stages == (given.stages[0], Stage(lr=2e-3, epochs=4))
    assert (plan.augmentation, plan.evaluation.patience) == (Augmentation.usual(), 5)
    assert (plan.keep, plan.threads, plan.tensorboard) == (KeepSettings(share=0.5, data="print", lines=7), 2, True)
    assert TrainingOptions().applied_to(given) == given
    assert TrainingOptions(augment=False).applied_to(plan).augmentation == Augmentation()
    tuning = TrainingOptions(model="mine", steps=20, patience=0, keep=True).recipe()
    assert (tuning.model.checkpoint, tuning.stages[0].steps, tuning.stages[0].warmup) == ("mine", 20, 10)
    assert (tuning.evaluation.patience, tuning.keep, tuning.augmentation) == (
        None,
        KeepSettings(),
        Augmentation.usual(),
    )
    assert TrainingOptions().recipe().evaluation.patience == FINE_TUNING["evaluation"]["patience"]


def test_an_interrupted_train_exits_with_130(folders, monkeypatch):
    from vedcore import training
    from vedcore.training import Result

    lines, write, out = folders
    monkeypatch.setattr(training, "train", lambda *a, **k: Result(out, "interrupted", 5, None, 0))
    stopped = vedcore("train", lines, "--recipe", write(), "--out", out)
    assert stopped.exit_code == 130
    assert "stopped after step 5; continue with: vedcore" in stopped.stderr


def interrupt(number):
    def run(*_, **__):
        os.kill(os.getpid(), number)

    return run


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_train_interrupted_before_its_first_step_exits_at_once_with_130(number, folders, monkeypatch):
    from vedcore import training
    from vedcore.training import Recipe

    lines, write, out = folders
    before = signal.getsignal(number)
    monkeypatch.setattr(training, "train", interrupt(number))
    stopped = vedcore("train", lines, "--recipe", write(), "--out", out)
    expected = f"{out}: interrupted; there is no checkpoint yet; the same command starts again\n"
    assert (stopped.exit_code, stopped.stderr) == (130, expected)
    monkeypatch.setattr(Recipe, "from_toml", interrupt(number))
    stopped = vedcore("train", lines, "--recipe", write(), "--out", out)
    assert (stopped.exit_code, stopped.stderr) == (130, "vedcore: interrupted\n")
    assert signal.getsignal(number) is before


def test_a_run_that_ends_at_once_prints_its_last_checkpoint_and_how_to_resume(folders, monkeypatch):
    from vedcore import training

    lines, write, out = folders
    vedcore("train", lines, "--recipe", write(3), "--out", out)
    monkeypatch.setattr(training, "train", interrupt(signal.SIGINT))
    stopped = vedcore("train", lines, "--recipe", write(3), "--out", out)
    assert stopped.exit_code == 130
    kept = f"{out}: interrupted; the last checkpoint is {out}/checkpoints/step-00000003; continue with: vedcore "
    assert stopped.stderr.startswith(kept)
    assert stopped.stderr.endswith(" --resume\n")


def test_a_run_continues_when_its_terminal_is_closed(folders, monkeypatch):
    from vedcore.cli import training_progress

    def closed(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    lines, write, out = folders
    monkeypatch.setattr(training_progress, "_line", closed)
    assert vedcore("train", lines, "--recipe", write(3), "--out", out).exit_code == 0


def test_of_several_processes_only_the_first_prints_how_the_run_ended(folders, monkeypatch):
    from vedcore import training
    from vedcore.training import Result

    lines, write, out = folders
    for ended, code in (("done", 0), ("interrupted", 130)):
        monkeypatch.setattr(training, "train", lambda *a, ended=ended, **k: Result(out, ended, 5, None, 3))
        for rank, tells in (("0", True), ("1", False)):
            monkeypatch.setenv("RANK", rank)
            result = vedcore("train", lines, "--recipe", write(), "--out", out)
            assert (result.exit_code, bool(result.stdout + result.stderr)) == (code, tells)


def test_train_without_a_recipe_continues_from_a_checkpoint(folders):
    lines, write, out = folders
    vedcore("train", lines, "--recipe", write(), "--out", out)
    more = out.parent / "more"
    done = vedcore("train", lines, "--model", out, "--out", more, "--max-minutes", 0.0001)
    assert (done.exit_code, "too few to hold out a tenth" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "RECIPE"], "train needs --out"),
        (
            ["--recipe", "RECIPE", "--model", "line-reader", "--out", "OUT"],
            "model has a checkpoint, which includes encoder",
        ),
        (
            ["--recipe", "RECIPE", "--steps", 3, "--epochs", 2, "--out", "OUT"],
            "--steps and --epochs both set the length",
        ),
        (["--recipe", "RECIPE", "--lr", -1, "--out", "OUT"], "Stage.lr must be a finite number above 0, got -1"),
        (["--recipe", "absent.toml", "--out", "OUT"], "absent.toml: not a recipe"),
        (["--model", "absent", "--out", "OUT"], "absent: no such folder"),
    ],
)
def test_an_impossible_request_is_one_line_and_exit_code_2(arguments, message, folders):
    lines, write, out = folders
    named = {"RECIPE": write(), "OUT": out}
    found = vedcore("train", lines, *(named.get(argument, argument) for argument in arguments))
    assert found.exit_code == 2
    assert message in found.stderr
    assert found.stderr.count("\n") == 1


def test_a_file_name_that_is_not_utf8_is_escaped_in_every_output(tmp_path):
    folder = tmp_path / os.fsdecode(b"d\xff")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("the file system takes UTF-8 alone")
    lines = write_folder(folder / "lines")
    for form in ("table", "json"):
        printed = vedcore("eval", "line-reader", lines, "--format", form)
        written = vedcore("eval", "line-reader", lines, "--format", form, "--output", tmp_path / "score")
        assert (printed.exit_code, written.exit_code) == (0, 0), printed.output + written.output
        for text in (printed.stdout, (tmp_path / "score").read_text(encoding="utf-8")):
            assert "udcff/lines" in text
    (lines / "2.png").unlink()
    partly = vedcore("eval", "line-reader", lines)
    assert (partly.exit_code, partly.stderr.count("\n")) == (1, 1)
    assert r"d\udcff/lines/2.png" in partly.stderr
    checked = vedcore("train", lines, "--check")
    assert (checked.exit_code, r"d\udcff/lines/2.png" in checked.stdout) == (1, True)


def test_eval_reads_with_a_prepared_model(folders, monkeypatch):
    prepared, each = [], Reader.each
    monkeypatch.setattr(
        Reader,
        "each",
        lambda self, images, **o: prepared.append(self.model.inference_form is not None) or each(self, images, **o),
    )
    assert vedcore("eval", "line-reader", folders[0]).exit_code == 0
    assert prepared == [True]


def test_eval_prints_a_score_as_a_table_or_as_json(folders, tmp_path):
    lines, write, out = folders
    vedcore("train", lines, "--recipe", write(), "--out", out)
    table = vedcore("eval", out, lines)
    assert table.exit_code == 0, table.output
    for row in ("character error rate", "word error rate", "exact lines", "calibration error", "lines per second"):
        assert re.search(rf"^{row} +\d", table.stdout, re.MULTILINE)
    assert "the worst lines" in table.stdout
    vedcore("eval", out, lines, "--format", "json", "--output", tmp_path / "score.json", "--beams", 2)
    score = json.loads((tmp_path / "score.json").read_text())
    assert (score["lines"], len(score["worst"])) == (8, 8)
    (lines / "2.png").unlink()
    partly = vedcore("eval", out, lines, "--worst", 0)
    assert (partly.exit_code, "2.png: missing image" in partly.stderr) == (1, True)
    missed = vedcore("eval", out, lines, "--output", tmp_path / "absent" / "x")
    assert (missed.exit_code, "not written" in missed.stderr) == (2, True)
