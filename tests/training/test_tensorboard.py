"""The numbers of a run for TensorBoard."""

import pytest

from tests.training.tiny import Lines, recipe, stop_after
from vedcore.errors import TrainingError
from vedcore.training import tensorboard, train
from vedcore.training.log import read_log


def test_without_tensorboard_a_run_that_needs_it_is_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
    with pytest.raises(TrainingError, match=r"pip install 'vedcore\[tensorboard\]'"):
        train(recipe(3, tensorboard=True), tmp_path / "out", Lines())
    assert not (tmp_path / "out").exists()


def test_a_resumed_run_has_one_event_for_each_number_of_the_log(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    plan = recipe(9, tensorboard=True)

    def stop(event, fields):
        if event == "progress" and fields["step"] == 5:
            raise KeyboardInterrupt  # after step 5, and the last checkpoint is of step 4

    with pytest.raises(KeyboardInterrupt):
        train(plan, tmp_path / "out", Lines(), watch=stop)
    train(plan, tmp_path / "out", Lines(), resume=True, watch=stop_after(6))
    train(plan, tmp_path / "out", Lines(), resume=True)
    events = EventAccumulator(str(tmp_path / "out/tensorboard"), purge_orphaned_data=True).Reload()
    log = read_log(tmp_path / "out")
    for tag, event, name in (
        ("training/loss", "step", "loss"),
        ("training/ctc", "step", "ctc"),
        ("evaluation/cer", "evaluation", "cer"),
        ("evaluation/validation_loss", "evaluation", "validation_loss"),
    ):
        expected = [(record["step"], record[name]) for record in log if record["event"] == event]
        found = [(scalar.step, scalar.value) for scalar in events.Scalars(tag)]
        assert [step for step, _ in found] == [step for step, _ in expected]
        assert [value for _, value in found] == pytest.approx([value for _, value in expected], rel=1e-6)
