"""Training runs: what they learn, how they evaluate, and what they refuse."""

import errno
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from tests.training.tiny import (
    NO_EVALUATION,
    TEXTS,
    Lines,
    TurnsBad,
    draw,
    recipe,
    same,
    steps_of,
    stop_after,
    weights_of,
    write_folder,
)
from vedcore.errors import ConfigError, SaveError, TokenizerError, TrainingError
from vedcore.reader import Reader
from vedcore.training import Folder, Recipe, train
from vedcore.training import optimizer_state as optimizer_state_module
from vedcore.training.checkpoints import CheckpointFolder
from vedcore.training.log import read_log
from vedcore.training.state import read_state


def test_a_run_learns_eight_lines_and_its_folder_reads_them(tmp_path):
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


def test_transformers_loads_a_trained_checkpoint(tmp_path):
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


def test_a_stage_of_minutes_ends_and_its_learning_rate_follows_the_time(tmp_path):
    plan = recipe(stages=[{"minutes": 0.01, "lr": 1e-3}, {"steps": 2, "lr": 5e-4}], **NO_EVALUATION)
    result = train(plan, tmp_path / "out", Lines())
    stages = [step["stage"] for step in steps_of(tmp_path / "out")]
    rates = [step["lr"] for step in steps_of(tmp_path / "out") if step["stage"] == 0]
    assert (result.ended, stages.count(1)) == ("done", 2)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < rates[0] <= 1e-3


def test_the_number_of_workers_does_not_change_the_result(tmp_path):
    for workers in (0, 2):
        train(recipe(4, batch={"size": 4, "workers": workers}), tmp_path / str(workers), Lines())
    assert steps_of(tmp_path / "0") == steps_of(tmp_path / "2")


@pytest.mark.parametrize("accumulation", [2, 4])
def test_accumulated_gradients_equal_those_of_the_whole_batch(accumulation, tmp_path):
    for parts in (1, accumulation):
        plan = recipe(3, dropout=0.0, batch={"size": 4, "workers": 0, "accumulation": parts}, **NO_EVALUATION)
        train(plan, tmp_path / str(parts), Lines())
    whole, parts = steps_of(tmp_path / "1"), steps_of(tmp_path / str(accumulation))
    assert [step["norm"] for step in parts] == pytest.approx([step["norm"] for step in whole], rel=1e-5)
    for name in ("loss", "ctc"):
        assert [step[name] for step in parts] == pytest.approx([step[name] for step in whole], rel=1e-5)


def test_equal_seeds_give_equal_runs(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(recipe(2, seed=seed, **NO_EVALUATION), tmp_path / name, Lines())
    assert steps_of(tmp_path / "a") == steps_of(tmp_path / "b")
    assert steps_of(tmp_path / "a") != steps_of(tmp_path / "c")


def test_training_does_not_change_the_random_state_of_the_caller(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    train(recipe(2, **NO_EVALUATION), tmp_path / "out", Lines())
    assert torch.equal(torch.rand(1), expected)


def test_the_last_checkpoints_and_the_best_are_kept(tmp_path):
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


def test_a_checkpoint_contains_no_pickle(tmp_path):
    train(recipe(3, **NO_EVALUATION), tmp_path / "out", Lines())
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".jsonl", ".html", ".safetensors"}


def test_training_continues_from_a_checkpoint_and_does_not_change_a_frozen_part(tmp_path):
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


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU has float16")
def test_a_precision_that_the_device_does_not_support_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="precision = 'float16' is not available on cpu"):
        train(recipe(3, precision="float16"), tmp_path / "out", Lines())


def test_held_out_lines_are_not_learned_from(tmp_path):
    accessed, after_steps = [], []

    class Watched(Lines):
        def __len__(self):
            return 40

        def __getitem__(self, index):
            accessed.append(index)
            return super().__getitem__(index % 8)

    def watch(event, fields):
        after_steps.extend([len(accessed)] * (event == "progress"))

    plan = recipe(20, evaluation={"lines": 8, "every": 100})
    assert train(plan, tmp_path / "out", Watched(), watch=watch).score.lines == 4
    learned, read = accessed[after_steps[-1] - 80 : after_steps[-1]], accessed[after_steps[-1] :]
    assert accessed[:40] == list(range(40))
    assert set(learned) | set(read) == set(range(40))
    assert not set(learned) & set(read)


def test_bad_samples_stop_a_run_before_it_starts_or_are_counted(tmp_path):
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


def test_bad_samples_during_a_run_stop_it_or_are_counted(tmp_path):
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


def test_a_loss_that_is_not_finite_stops_the_run_with_the_step_and_its_images(tmp_path):
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


def test_a_full_disk_is_an_error_and_keeps_the_old_checkpoint(tmp_path, monkeypatch):
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


@pytest.mark.parametrize(
    ("tables", "data", "message"),
    [
        ({}, None, r"no data set 'train' \(the data sets are: none\); pass DATA"),
        ({"stages": [{"steps": 1, "data": "mine"}]}, Lines(), r"no data set 'mine' .*add \[data\.mine\]"),
        ({"evaluation": {"lines": 8}}, Lines(), "has 8 samples, too few to hold out a tenth"),
        ({"freeze": ["*"], **NO_EVALUATION}, Lines(), "leaves no parameter to learn"),
        ({"optimizer": {"beta1": 1.0}, **NO_EVALUATION}, Lines(), "beta"),
        ({"freeze": ["encode"], **NO_EVALUATION}, Lines(), "no parameter matches 'encode'; similar names are encoder"),
        (
            {"data": {"mine": {"source": "no_such_module:f"}}, "stages": [{"steps": 1, "data": "mine"}]},
            None,
            "no_such_module",
        ),
    ],
)
def test_an_impossible_run_is_refused(tables, data, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        train(recipe(2, **tables), tmp_path / "out", data)


def test_data_can_come_from_a_module_next_to_the_recipe(tmp_path):
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


def test_a_tokenizer_or_image_processor_that_does_not_fit_the_model_is_refused(tmp_path):
    model = recipe().model
    small = {**model.decoder, "vocab_size": 20}
    with pytest.raises(TokenizerError, match="the decoder's vocabulary has 20 tokens"):
        train(recipe(model={**recipe().to_dict()["model"], "decoder": small}), tmp_path / "a", Lines())
    processor = {"size": {"shortest_edge": 16}}
    with pytest.raises(ConfigError, match="images of unequal sizes"):
        train(recipe(model={**recipe().to_dict()["model"], "image_processor": processor}), tmp_path / "b", Lines())


def test_an_image_that_becomes_unreadable_during_a_run_is_named(tmp_path):
    folder = write_folder(tmp_path / "lines")

    def watch(event, fields):
        (folder / "2.png").write_bytes(b"gone")

    with pytest.raises(TrainingError, match=r"step \d: .*2\.png: unreadable image"):
        train(recipe(9, **NO_EVALUATION), tmp_path / "out", folder, watch=watch)


def test_a_run_can_be_started_from_a_thread(tmp_path):
    with ThreadPoolExecutor() as threads:
        assert threads.submit(train, recipe(2, **NO_EVALUATION), tmp_path / "out", Lines()).result().step == 2
