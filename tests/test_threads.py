"""The number of threads: named, or measured."""

import pytest
import torch

from vedcore.errors import ConfigError
from vedcore.speed.threads import MOST_THREADS, choose_threads, measured_threads, set_threads


@pytest.fixture(autouse=True)
def threads():
    """Four threads, and the former number after the test."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("number", [0, -1, MOST_THREADS + 1, 1.0, True, "2", None])
def test_a_number_of_threads_that_no_machine_has_is_an_error(number):
    with pytest.raises(ConfigError, match="threads must be an int from 1 to 1024") as caught:
        set_threads(number)
    assert caught.value.field == "threads"
    assert torch.get_num_threads() == 4


def test_the_users_number_is_used_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert choose_threads(3) == torch.get_num_threads() == 3


def test_the_number_that_torch_read_from_the_environment_is_kept(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert choose_threads() == torch.get_num_threads() == 4


def test_without_a_choice_a_measurement_decides_and_it_changes_nothing_itself(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert measured_threads() in (1, 2, 4)
    assert torch.get_num_threads() == 4
    assert choose_threads() == torch.get_num_threads() <= 4


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        ({1: 1.0, 4: 0.4}, 4),
        ({1: 1.0, 2: 0.6, 4: 7.0}, 2),
        ({1: 1.0, 2: 1.1, 4: 30.0}, 1),
        ({1: 1.0, 2: 0.9, 4: 0.9}, 1),  # not clearly faster
    ],
)
def test_the_most_threads_that_are_clearly_faster_than_one_are_best(seconds, best):
    assert measured_threads(lambda number, _: seconds[number]) == best


def test_a_disturbance_of_the_time_with_one_thread_does_not_speak_for_several():
    alone = iter([9.0, 1.0, 9.0])
    assert measured_threads(lambda number, _: next(alone) if number == 1 else 2.0) == 1
