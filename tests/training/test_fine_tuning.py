"""A run that continues from a checkpoint: it evaluates the reader before training, stops early, and keeps ordinary print."""

import json
import shutil

import pytest
import torch

from tests.training.tiny import (
    NO_EVALUATION,
    TEXTS,
    Lines,
    recipe,
    same,
    steps_of,
    stop_after,
    weights_of,
    write_archive,
    write_folder,
)
from vedcore.errors import ConfigError
from vedcore.model.loss import token_loss
from vedcore.reader import Reader
from vedcore.training import Recipe, train
from vedcore.training import evaluator as evaluator_module
from vedcore.training import loop as loop_module
from vedcore.training.data.label_encoder import LabelEncoder
from vedcore.training.evaluation import Score
from vedcore.training.evaluator import Evaluator
from vedcore.training.log import read_log
from vedcore.training.objective import Objective


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A reader without random weights, whose folder has lines to keep."""
    folder = tmp_path_factory.mktemp("start") / "reader"
    train(recipe(3, **NO_EVALUATION), folder, Lines())
    write_archive(folder / "lines.zip", TEXTS * 3)
    return folder


def tuning(checkpoint, steps=6, **tables):
    given = {"stages": [{"steps": steps, "lr": 5e-3}], "evaluation": {"data": "train", "lines": 8, "every": 2}}
    return Recipe.from_dict({**recipe().to_dict(), **given, **tables, "model": {"checkpoint": str(checkpoint)}})


def evaluations_of(run):
    return [record for record in read_log(run) if record["event"] == "evaluation"]


def with_rates(monkeypatch, *rates):
    """Let the evaluations find these character error rates, one after the other."""
    left = list(rates)
    monkeypatch.setattr(evaluator_module, "evaluate", lambda *a, **k: Score(8, 0, left.pop(0), 1.0, 0.1, 9.0))


def test_the_reader_before_training_is_evaluated_unless_its_weights_are_random(checkpoint, tmp_path):
    result = train(tuning(checkpoint, 3), tmp_path / "tuned", Lines())
    assert [record["step"] for record in evaluations_of(tmp_path / "tuned")] == [0, 2, 3]
    assert result.start_cer == evaluations_of(tmp_path / "tuned")[0]["cer"]
    assert train(recipe(4), tmp_path / "new", Lines()).start_cer is None
    assert [record["step"] for record in evaluations_of(tmp_path / "new")] == [4]


def test_a_reader_that_training_does_not_improve_stays_as_it_was(checkpoint, tmp_path, monkeypatch):
    with_rates(monkeypatch, 0.1, 0.2, 0.3, 0.4)
    result = train(tuning(checkpoint), tmp_path / "out", Lines())
    assert (result.ended, result.step, result.best_step, result.best_cer) == ("done", 6, 0, 0.1)
    assert same(weights_of(tmp_path / "out"), weights_of(checkpoint))
    kept = sorted(path.name for path in (tmp_path / "out/checkpoints").iterdir())
    assert kept == ["step-00000000", "step-00000003", "step-00000006"]


def test_a_run_without_a_step_can_be_resumed_or_replaced(checkpoint, tmp_path):
    plan = tuning(checkpoint, max_minutes=1e-9)
    assert train(plan, tmp_path / "out", Lines()).step == 0
    assert not (tmp_path / "out/config.json").exists()
    resumed = shutil.copytree(tmp_path / "out", tmp_path / "resumed")
    assert train(tuning(checkpoint), resumed, Lines(), resume=True).step == 6
    train(tuning(checkpoint, 4, seed=1), tmp_path / "out", Lines())
    train(tuning(checkpoint), tmp_path / "whole", Lines())
    assert steps_of(resumed) == steps_of(tmp_path / "whole")
    assert [record["step"] for record in evaluations_of(resumed)] == [0, 2, 4, 6]


@pytest.mark.parametrize("stop_at", [3, 6, 9])
def test_a_run_ends_when_its_patience_does_and_resuming_changes_nothing(stop_at, checkpoint, tmp_path, monkeypatch):
    rates = [0.5, 0.3, 0.4, 0.2, 0.4, 0.3, 0.3, 0.1, 0.1]
    plan = tuning(checkpoint, 40, evaluation={"data": "train", "lines": 8, "every": 2, "patience": 3})
    with_rates(monkeypatch, *rates)
    whole = train(plan, tmp_path / "whole", Lines())
    assert (whole.ended, whole.step, whole.best_step, whole.best_cer) == ("patience", 12, 6, 0.2)
    with_rates(monkeypatch, *rates)
    assert train(plan, tmp_path / "parts", Lines(), watch=stop_after(stop_at)).ended == "interrupted"
    parts = train(plan, tmp_path / "parts", Lines(), resume=True)
    assert (parts.ended, parts.step, parts.best_step) == (whole.ended, whole.step, whole.best_step)
    assert steps_of(tmp_path / "parts") == steps_of(tmp_path / "whole")
    assert same(weights_of(tmp_path / "parts"), weights_of(tmp_path / "whole"))
    assert train(plan, tmp_path / "parts", Lines(), resume=True).step == 12


def test_without_patience_a_run_makes_all_its_steps(checkpoint, tmp_path, monkeypatch):
    with_rates(monkeypatch, *[0.1] * 12)
    assert train(tuning(checkpoint, 20), tmp_path / "out", Lines()).step == 20


def test_the_validation_loss_is_the_mean_over_the_labels_of_the_held_out_lines(checkpoint, tmp_path):
    train(tuning(checkpoint, 2), tmp_path / "out", Lines())
    found = [record["validation_loss"] for record in evaluations_of(tmp_path / "out")]
    reader = Reader.load(checkpoint, dtype=torch.float32)
    encode = LabelEncoder.for_reader(reader)
    total, count = 0.0, 0
    for sample in map(Lines().__getitem__, range(8)):
        labels = torch.tensor([encode(sample.text, sample.source)])
        pixels = reader.processor.image_processor(sample.image).pixel_values
        output = reader.model(pixels, labels=labels)
        total, count = total + token_loss(output.logits, labels).sum.item(), count + labels.numel()
    assert found[0] == pytest.approx(total / count, rel=1e-5)
    assert found[-1] < found[0]


@pytest.mark.parametrize("size", [1, 3, 64])
def test_the_validation_loss_does_not_depend_on_batches_dropout_or_lines_that_cannot_be_learned(size, checkpoint):
    class WithLong(Lines):
        def __len__(self):
            return 9

        def __getitem__(self, index):
            sample = super().__getitem__(index % 8)
            return type(sample)(sample.image, "a" * 30, "long") if index == 8 else sample

    plan = tuning(checkpoint, evaluation={"batch_size": size})
    reader = Reader.load(checkpoint, dtype=torch.float32, prepare=False)
    objective = Objective(reader.model).train()
    losses = [
        Evaluator(plan, reader, objective, data, None).evaluate().validation_loss for data in (Lines(), WithLong())
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert objective.training
    with torch.no_grad():
        whole = Evaluator(tuning(checkpoint), reader, objective, Lines(), None).evaluate().validation_loss
    assert losses[0] == pytest.approx(whole, rel=1e-5)


def test_kept_lines_are_mixed_in_evaluated_and_carried_along(checkpoint, tmp_path, monkeypatch):
    sources, collect = [], loop_module.StepMetrics.add

    def watched(self, position, lr, result):
        sources.extend(result.sources)
        collect(self, position, lr, result)

    monkeypatch.setattr(loop_module.StepMetrics, "add", watched)
    plan = tuning(checkpoint, keep={"share": 0.25, "lines": 2})
    result = train(plan, tmp_path / "out", Lines())
    kept = [source for source in sources if "lines.zip" in source]
    assert (len(sources), len(kept)) == (24, 6)
    records = evaluations_of(tmp_path / "out")
    assert all(record["kept_cer"] >= 0 for record in records)
    assert result.start_kept_cer == records[0]["kept_cer"]
    assert result.best_kept_cer == next(r["kept_cer"] for r in records if r["step"] == result.best_step)
    again = train(tuning(tmp_path / "out", 2, keep={}), tmp_path / "again", Lines())
    assert again.start_kept_cer is not None
    assert (tmp_path / "again/lines.zip").read_bytes() == (checkpoint / "lines.zip").read_bytes()


def test_a_run_that_keeps_lines_resumes_bit_for_bit(checkpoint, tmp_path):
    plan = tuning(checkpoint, keep={"share": 0.3}, batch={"size": 4, "workers": 1})
    train(plan, tmp_path / "whole", Lines())
    assert train(plan, tmp_path / "parts", Lines(), watch=stop_after(3)).step < 6
    train(plan, tmp_path / "parts", Lines(), resume=True)
    assert steps_of(tmp_path / "parts") == steps_of(tmp_path / "whole")
    assert same(weights_of(tmp_path / "parts"), weights_of(tmp_path / "whole"))
    found = [[record["kept_cer"] for record in evaluations_of(tmp_path / name)] for name in ("parts", "whole")]
    assert found[0] == found[1]


def test_kept_lines_can_be_a_data_set_of_the_recipe(checkpoint, tmp_path):
    write_folder(tmp_path / "print", texts=TEXTS * 2)
    tables = {"data": {"print": {"folder": "print"}}, "keep": {"data": "print"}}
    assert train(tuning(checkpoint, 2, **tables), tmp_path / "out", Lines(), beside=tmp_path).best_kept_cer is not None
    plan = recipe(2, **{**tables, **NO_EVALUATION})
    assert train(plan, tmp_path / "new", Lines(), beside=tmp_path).step == 2


def test_lines_that_are_not_there_cannot_be_kept(checkpoint, tmp_path):
    train(recipe(2, **NO_EVALUATION), tmp_path / "plain", Lines())
    with pytest.raises(
        ConfigError, match=r"plain has no lines\.zip, .*\[keep\] data = \"print\", with \[data\.print\]"
    ):
        train(tuning(tmp_path / "plain", keep={}), tmp_path / "out", Lines())
    with pytest.raises(ConfigError, match="no data set 'print'"):
        train(tuning(checkpoint, keep={"data": "print"}), tmp_path / "out", Lines())
    with pytest.raises(ConfigError, match="keep needs data, the name of a data set"):
        recipe(keep={})


def test_epochs_count_the_lines_that_are_learned_from(checkpoint, tmp_path):
    plan = tuning(checkpoint, stages=[{"epochs": 3, "lr": 1e-3, "warmup": 100}], keep={"share": 0.5})
    result = train(plan, tmp_path / "out", Lines(), watch=stop_after(3))
    assert result.step < 12
    assert (
        train(plan, tmp_path / "out", Lines(), resume=True).step == 12
    )  # 3 epochs of 8 lines, 2 of them in each batch
    assert json.loads((tmp_path / "out/recipe.json").read_text())["recipe"]["stages"][0]["epochs"] == 3.0
