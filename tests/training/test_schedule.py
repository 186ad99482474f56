"""What happens when: pure functions of the step, so that a resumed run does the same."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.tiny import recipe
from vedcore.errors import ConfigError
from vedcore.training.data.sampler import BatchSampler, mixed_order, sample_order
from vedcore.training.recipe import Stage
from vedcore.training.schedule import LONGEST, SHORTEST, is_evaluated, with_steps
from vedcore.training.state import Position


def test_evaluations_are_frequent_at_first_and_rarer_later():
    steps = [step for step in range(8000) if is_evaluated(step, None)]
    distances = [later - earlier for earlier, later in pairwise(steps)]
    assert steps[:4] == [0, 25, 50, 75]
    assert distances == sorted(distances)
    assert (distances[0], distances[-1]) == (SHORTEST, LONGEST)
    assert all(distance <= max(SHORTEST, step / 4) for step, distance in zip(steps, distances, strict=False))


@given(st.integers(0, 10_000), st.integers(1, 500))
def test_evaluations_can_be_regular(step, every):
    assert is_evaluated(step, every) == (step % every == 0)


def test_epochs_become_the_steps_in_which_each_sample_is_used_as_often():
    assert with_steps(Stage(epochs=3, warmup=5), 100, 32) == Stage(steps=10, warmup=5)
    assert with_steps(Stage(epochs=0.5, warmup=500), 100, 10) == Stage(steps=5, warmup=2)
    assert with_steps(Stage(steps=7), 100, 10) == Stage(steps=7)
    with pytest.raises(ConfigError, match="set steps instead"):
        with_steps(Stage(epochs=10), 2**40, 1)


@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.01, 0.9), st.integers(0, 500), st.integers(1, 200))
def test_kept_lines_have_their_share_of_any_positions_in_a_row(length, kept, share, start, number):
    order = mixed_order(length, kept, share, (1, 2), start, number)
    assert abs(sum(index >= length for index in order) - share * number) < 1 + 1e-6
    assert mixed_order(length, kept, share, (1, 2), 0, start + number)[start:] == order


@given(st.integers(1, 20), st.integers(1, 20), st.floats(0.1, 0.9))
def test_both_parts_of_a_mixture_go_through_epochs_of_their_own(length, kept, share):
    order = mixed_order(length, kept, share, (5,), 0, 600)
    own, others = [index for index in order if index < length], [index for index in order if index >= length]
    assert own == sample_order(length, (5,), 0, len(own))
    for part, size in ((own, length), (others, kept)):
        epochs = [part[at : at + size] for at in range(0, len(part) - size + 1, size)]
        assert all(len(set(epoch)) == size for epoch in epochs)


def test_without_kept_lines_the_order_is_that_of_the_samples():
    sampler = BatchSampler(length=7, seed=(3,), start=0, steps=4, size=5)
    assert [index for batch in sampler for index, _ in batch] == sample_order(7, (3,), 0, 20)


def test_of_equal_error_rates_the_lower_loss_is_better_and_of_equal_losses_the_later():
    position, kept = Position(), []
    for step, (cer, loss) in enumerate([(0.5, 2.0), (0.5, 1.0), (0.5, 1.5), (0.5, 1.0), (0.4, None), (0.4, 9.0)]):
        position.step = step
        kept.append((position.record_score(cer, loss), position.best_step))
        position.record_scheduled(cer, loss)
    assert kept == [(True, 0), (True, 1), (False, 1), (True, 3), (True, 4), (True, 5)]
    assert position.misses == 0


def test_misses_are_counted_in_a_row_over_the_scheduled_evaluations_alone():
    position = Position()
    for cer in (0.5, 0.6, 0.5):
        position.record_scheduled(cer, 1.0)
    position.record_score(0.1, 1.0)  # because the time was over
    assert (position.misses, position.is_out_of_patience(3), position.is_out_of_patience(2)) == (2, False, True)
    assert not position.is_out_of_patience(None)
    position.record_scheduled(0.4, 1.0)
    assert position.misses == 0


def test_a_recipe_from_a_checkpoint_augments_unless_it_says_otherwise():
    plan = recipe()
    model = {"checkpoint": "line-reader"}
    of = {
        name: type(plan).from_dict(tables).augmentation
        for name, tables in {
            "default": {"model": model},
            "none": {"model": model, "augmentation": {}},
            "new model": {"model": plan.to_dict()["model"]},
        }.items()
    }
    assert of["default"] == type(of["default"]).usual() != type(of["default"])()
    assert of["none"] == of["new model"] == type(of["default"])()
