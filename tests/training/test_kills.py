"""A run that is killed at random moments continues bit for bit and leaves no incomplete checkpoint.

``VEDCORE_KILLS`` sets the number of kills; the default is three.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from tests.training.tiny import recipe, steps_of, write_folder, write_recipe
from vedcore.reader import Reader
from vedcore.training.checkpoints import CheckpointFolder
from vedcore.training.state import PREFIX, read_state

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("VEDCORE_KILLS", "3"))
STEPS = 40 + 25 * KILLS


def start(folder):
    command = [sys.executable, "-m", "tests.training.tiny", str(folder), str(STEPS)]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})


def size_of_log(folder):
    log = folder / "log.jsonl"
    return log.stat().st_size if log.exists() else 0


def wait_for_steps(process, folder, before):
    """Wait until the size of the log in ``folder`` is not ``before``."""
    while process.poll() is None and size_of_log(folder) == before:
        time.sleep(0.005)


def kill_while_it_trains(folder, moment):
    """Wait until the run logs a step, and kill it ``moment`` seconds later."""
    before = size_of_log(folder)
    process = start(folder)
    wait_for_steps(process, folder, before)
    time.sleep(moment)
    assert process.poll() is None, f"the run was over before it could be killed: exit code {process.returncode}"
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_run_killed_at_random_moments_continues_bit_for_bit(tmp_path):
    assert start(tmp_path / "whole").wait() == 0
    draw = random.Random(0)
    for _ in range(KILLS):
        kill_while_it_trains(tmp_path / "killed", draw.uniform(0, 0.4))
        for checkpoint in (tmp_path / "killed/checkpoints").glob(f"{PREFIX}*"):
            read_state(checkpoint)
            Reader.load(checkpoint / "model")
    assert start(tmp_path / "killed").wait() == 0
    assert steps_of(tmp_path / "killed") == steps_of(tmp_path / "whole")
    assert len(steps_of(tmp_path / "whole")) == STEPS
    first, second = (Reader.load(tmp_path / name).model.state_dict() for name in ("whole", "killed"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not list((tmp_path / "killed").rglob(".*tmp-*"))


def test_ctrl_c_on_the_command_and_its_workers_saves_and_exits_with_130(tmp_path):
    lines, out = write_folder(tmp_path / "lines"), tmp_path / "out"
    path = write_recipe(tmp_path / "recipe.toml", recipe(10_000, batch={"size": 4, "workers": 2}))
    process = subprocess.Popen(
        [sys.executable, "-m", "vedcore", "train", str(lines), "--recipe", str(path), "--out", str(out)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for_steps(process, out, 0)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    steps = steps_of(out)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == (
        f"{out}: stopped after step {len(steps)}; continue with: vedcore train {lines} --recipe {path} --out {out} --resume"
    )
    assert "Traceback" not in errors
    assert read_state(CheckpointFolder(out, 2).newest()).position.step == len(steps)
    assert Reader.load(out).read([lines / "0.png"])
