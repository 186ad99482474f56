"""Two processes connected by gloo learn the same as one."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch.distributed

from tests.training.tiny import Lines, draw, recipe, steps_of
from vedcore.errors import ConfigError
from vedcore.reader import Reader
from vedcore.training import Sample, train
from vedcore.training.checkpoints import CheckpointFolder
from vedcore.training.log import read_log
from vedcore.training.state import read_state

PLAN = {"dropout": 0.0, "batch": {"size": 8, "accumulation": 2, "workers": 0}}
PROGRAM = "import sys; from tests.training import test_processes as t; getattr(t, sys.argv[1])(sys.argv[2]); t.part()"


def run(folder):
    """Four steps; the halves of each batch have different numbers of labels."""
    return train(recipe(4, **PLAN), folder, Lines())


class TurnsBad(Lines):
    """More samples than are checked before a run; those after them are bad at odd indices."""

    def __len__(self):
        return 400

    def __getitem__(self, index):
        good = index < 200 or index % 2 == 0
        return super().__getitem__(index % 8) if good else Sample(draw("x"), "caf\u00e9", f"line {index}")


def skip(folder):
    """Four steps that leave out some samples."""
    plan = recipe(4, dropout=0.0, batch={"size": 16, "workers": 0}, evaluation={"lines": 0})
    return train(plan, folder, TurnsBad(), skip_bad=True)


def run_out_of_time(folder):
    """A run whose processes all run out of time."""
    assert train(recipe(10_000, max_minutes=1e-9, **PLAN), folder, Lines()).ended == "time"


def part():
    """End the connection in both processes. One that exits while the other uses it may abort, and fail the test."""
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def start_two(name, folder):
    """Run the function ``name`` of this module in two processes; returns their exit codes."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    shared = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "1",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, name, str(folder)],
            cwd=Path(__file__).parents[2],
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    return [process.wait(timeout=120) for process in processes]


def test_two_processes_learn_what_one_learns(tmp_path):
    run(tmp_path / "one")
    assert start_two("run", tmp_path / "two") == [0, 0]
    one, two = steps_of(tmp_path / "one"), steps_of(tmp_path / "two")
    for name in ("step", "lr", "loss", "ctc", "norm"):
        assert [step[name] for step in two] == pytest.approx([step[name] for step in one], rel=1e-4)
    assert two[0]["norm"] == pytest.approx(one[0]["norm"], rel=1e-6)
    assert Reader.load(tmp_path / "two").model.untrained == []


def test_two_processes_leave_out_the_samples_that_one_leaves_out(tmp_path):
    skipped = skip(tmp_path / "one").skipped
    assert start_two("skip", tmp_path / "two") == [0, 0]
    one, two = (
        [(r["step"], r["counts"], set(r["problems"])) for r in read_log(tmp_path / name) if r["event"] == "skipped"]
        for name in ("one", "two")
    )
    assert two == one
    assert read_state(CheckpointFolder(tmp_path / "two", 2).newest()).position.skipped == skipped > 0


def test_two_processes_that_run_out_of_time_are_not_interrupted(tmp_path):
    assert start_two("run_out_of_time", tmp_path / "two") == [0, 0]


def test_an_unconnected_process_of_several_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=r"one of 2 processes .* ACCELERATE_USE_CPU=true"):
        run(tmp_path / "two")
    assert not (tmp_path / "two").exists()
