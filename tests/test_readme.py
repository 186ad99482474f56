"""The README: its Python runs and prints what it shows, its commands exist, and its links lead to files."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from vedcore.cli import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```(?:\n\n```\n(.*?)```)?", README, re.S)
CONSOLE = re.findall(r"```console\n\$ vedcore (.*?)\n(.*?)```", README, re.S)
TABLES = re.findall(r"```\n(┏.*?)\n```", README, re.S)
COMMANDS = (["read", "examples/images"], ["plugins"])
FENCES = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.M | re.S)
SHELL = "\n".join(text for language, text in FENCES if language != "python")
MENTIONED = re.findall(r"(?:^|\| |\$ )vedcore ([a-z-]+)([^#\n]*)", SHELL, re.M)
LINKS = re.findall(r"\]\(([^)#]+)(?:#([^)]+))?\)", README)


@pytest.mark.parametrize(("block", "printed"), BLOCKS, ids=lambda text: text.split("\n")[0][:40])
def test_every_python_block_runs_and_prints_what_is_shown(block, printed, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    block = block.replace('"my-model"', repr(str(tmp_path / "my-model")))
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})
    if printed:
        assert capsys.readouterr().out == printed


def test_the_first_screen_is_short():
    """A picture, a command and five lines of Python stand before the first table."""
    first, _, _ = README.partition("## Install")
    assert not re.search(r"^[|┏]", first, re.M)
    assert len(first.splitlines()) <= 40
    assert "![" in first
    assert len(CONSOLE) == 1
    assert len(BLOCKS[0][0].splitlines()) == 5
    assert CONSOLE[0][1].strip() in BLOCKS[0][1]


@pytest.mark.parametrize(("arguments", "printed"), CONSOLE)
def test_a_command_prints_the_lines_after_it(arguments, printed):
    assert output_of(arguments.split()) == printed


@pytest.mark.parametrize(("table", "command"), list(zip(TABLES, COMMANDS, strict=True)))
def test_the_commands_print_the_tables(table, command):
    assert rows(output_of(command)) == rows(table)


@pytest.mark.parametrize(("name", "rest"), MENTIONED)
def test_every_command_and_option_exists(name, rest):
    commands = typer.main.get_command(app).commands
    options = {option for parameter in commands[name].params for option in parameter.opts}
    assert set(re.findall(r"--[a-z-]+", rest)) <= options


def test_the_option_table_of_read_is_complete():
    shown = set(re.findall(r"^\| `(--[a-z-]+)`", README, re.M))
    parameters = typer.main.get_command(app).commands["read"].params
    options = {option for parameter in parameters for option in parameter.opts if option.startswith("--")}
    assert shown == options - {"--debug", "--help"}


@pytest.mark.parametrize(("path", "section"), LINKS)
def test_every_link_leads_to_a_file_and_its_section(path, section):
    assert (ROOT / path).is_file()
    headings = re.findall(r"^#+ (.*)", (ROOT / path).read_text(), re.M) if section else []
    assert not section or section in {heading.lower().replace(" ", "-") for heading in headings}


def output_of(command):
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-m", "vedcore", *command],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        check=True,
    )
    return done.stdout


def rows(table):
    """The first two columns: a confidence may differ in its last digit from one processor to another."""
    return [[cell.strip() for cell in line.split("│")[1:3]] for line in table.splitlines() if line.startswith("│")]
