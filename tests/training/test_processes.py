"""Several processes are one: two over gloo learn what one learns."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.tiny import Lines, recipe, steps_of
from vedcore.errors import ConfigError
from vedcore.reader import Reader
from vedcore.training import train

PLAN = {"dropout": 0.0, "batch": {"size": 8, "accumulation": 2, "workers": 0}}
PROGRAM = "import sys; from tests.training.test_processes import run; run(sys.argv[1])"


def run(folder):
    """Four steps with unequal labels in the halves of each batch."""
    return train(recipe(4, **PLAN), folder, Lines())


def test_two_processes_learn_what_one_learns(tmp_path):
    run(tmp_path / "one")
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
            [sys.executable, "-c", PROGRAM, str(tmp_path / "two")],
            cwd=Path(__file__).parents[2],
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    one, two = steps_of(tmp_path / "one"), steps_of(tmp_path / "two")
    for name in ("step", "lr", "loss", "ctc", "norm"):
        assert [step[name] for step in two] == pytest.approx([step[name] for step in one], rel=1e-4)
    assert two[0]["norm"] == pytest.approx(one[0]["norm"], rel=1e-6)
    assert Reader.load(tmp_path / "two").model.untrained == []


def test_one_of_several_processes_that_is_alone_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=r"one of 2 processes .* ACCELERATE_USE_CPU=true"):
        run(tmp_path / "two")
    assert not (tmp_path / "two").exists()
