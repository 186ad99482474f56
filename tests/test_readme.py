"""The README: its Python runs, and its commands print what it says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)
TABLES = re.findall(r"```\n(┏.*?)\n```", README, re.S)
COMMANDS = (["read", "examples/images"], ["plugins"])


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split("\n")[0][:40])
def test_every_python_block_runs(block, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    block = block.replace('"my-model"', repr(str(tmp_path / "my-model")))
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
    if "reader.read" in block:
        assert "Invoice No. 20417" in capsys.readouterr().out


@pytest.mark.parametrize(("table", "command"), list(zip(TABLES, COMMANDS, strict=True)))
def test_the_commands_print_what_the_readme_shows(table, command):
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-m", "vedcore", *command],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        check=True,
    )
    assert rows(done.stdout) == rows(table)


def rows(table):
    """The first two columns: a confidence may differ in its last digit from one processor to another."""
    return [[cell.strip() for cell in line.split("│")[1:3]] for line in table.splitlines() if line.startswith("│")]
