"""``vedcore new-plugin`` writes packages that install, pass their tests and the linters, and refuses bad names."""

import os
import re
import subprocess
import sys
import tomllib
from importlib import resources
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vedcore import __version__
from vedcore.cli import app, scaffold
from vedcore.cli.scaffold import ROLES, new_plugin
from vedcore.errors import ConfigError, SaveError

ROOT = Path(__file__).parent.parent


def run(*command, cwd, path=None):
    """A command's output; it must succeed. ``path`` comes first on the import path, then this repository."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [path and str(path), str(ROOT)]))}
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, env=environment, timeout=300, check=False, cwd=cwd
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def install(project, site):
    """Put a project's package into the folder ``site``, with the metadata that pip would write for it."""
    stated = tomllib.loads((project / "pyproject.toml").read_text())
    about, (package,) = stated["project"], stated["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    (site / package).symlink_to(project / package)
    info = site / f"{package}-{about['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n")
    points = "".join(
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in about["entry-points"].items()
    )
    (info / "entry_points.txt").write_text(points)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder that holds a package of each role; and one with them installed."""
    into, site = tmp_path_factory.mktemp("written"), tmp_path_factory.mktemp("site")
    for role in ROLES:
        install(new_plugin(f"my-{role}", role, into), site)
    return into, site


@pytest.mark.parametrize("role", ["encoder", "decoder"])
def test_a_new_backbone_is_a_small_package_of_the_usual_files(written, role):
    project = written[0] / f"vedcore-plugin-my-{role}"
    files = {str(path.relative_to(project)) for path in project.rglob("*") if path.is_file()}
    modules = {f"vedcore_plugin_my_{role}/{name}.py" for name in ("__init__", "config", "model", "testing")}
    others = {"pyproject.toml", "README.md", f"vedcore_plugin_my_{role}/py.typed", f"tests/test_my_{role}.py"}
    assert files == modules | others
    lines = [line for name in modules for line in (project / name).read_text().splitlines() if line.strip()]
    assert len(lines) < 150
    assert sum("Replace this" in line for line in lines) >= 5
    code = (project / f"tests/test_my_{role}.py").read_text().splitlines()
    assert len([line for line in code if line.strip()]) <= 5


def test_the_project_file_has_the_entry_point_and_the_supported_versions(written):
    stated = tomllib.loads((written[0] / "vedcore-plugin-my-decoder/pyproject.toml").read_text())["project"]
    assert stated["entry-points"]["vedcore.plugins"] == {"my-decoder": "vedcore_plugin_my_decoder"}
    major, minor = map(int, __version__.split(".")[:2])
    ceiling = f"{major + 1}" if major else f"0.{minor + 1}"
    assert f"vedcore>={major}.{minor},<{ceiling}" in stated["dependencies"]


@pytest.mark.parametrize("role", ["encoder", "decoder"])
def test_a_new_backbone_is_ready_for_comparison_with_transformers(written, role):
    project = written[0] / f"vedcore-plugin-my-{role}"
    stated = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    assert "transformers>=5.23" in stated["optional-dependencies"]["test"]
    code = "".join(path.read_text() for path in project.rglob("*.py"))
    assert re.search("Replace this: take the class's name from transformers; config.json stores it", code)
    assert not re.search(r"\b[Aa]n? My", code)  # whatever the name begins with


def test_every_variable_of_the_templates_is_replaced(written):
    for path in written[0].rglob("*"):
        if path.is_file():
            assert not re.search(r"\$\w|\$\{", path.read_text()), path


def test_new_packages_pass_their_own_tests(written):
    into, site = written
    tests = sorted(str(path) for path in into.glob("*/tests/test_*.py"))
    assert len(tests) == len(ROLES)
    output = run("-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *tests, cwd=into, path=site)
    assert re.search(r"\d+ passed", output)
    assert "failed" not in output


def test_new_packages_are_found_and_not_broken(written):
    output = run("-m", "vedcore", "plugins", cwd=written[0], path=written[1])
    for role in ROLES:
        assert f"{role} my-{role}" in output
    assert "broken" not in output


def test_new_packages_are_clean_and_typed(written):
    into, site = written
    for role in ROLES:
        project = into / f"vedcore-plugin-my-{role}"
        run("-m", "ruff", "check", "--no-cache", ".", cwd=project)
        run("-m", "ruff", "format", "--no-cache", "--check", ".", cwd=project)
    packages = [word for role in ROLES for word in ("-p", f"vedcore_plugin_my_{role}")]
    run("-m", "mypy", "--strict", "--cache-dir", str(site / ".mypy_cache"), *packages, cwd=site, path=site)


def test_every_template_has_a_path():
    templates = resources.files("vedcore.cli") / "templates"
    assert {folder.name for folder in templates.iterdir()} == {*ROLES, "shared"}
    names = {template.name for folder in templates.iterdir() for template in folder.iterdir()}
    assert {f"{name}.in" for name in scaffold.PATHS} <= names
    assert all(name.endswith(".in") for name in names)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "a letter first"),
        ("My-Encoder", "lowercase letters and digits"),
        ("2d", "a letter first"),
        ("a--b", "words joined by - or _"),
        ("a-", "words joined by - or _"),
        ("../evil", "cannot be named '../evil'"),
        ("a b", "cannot be named 'a b'"),
        ("é", "cannot be named"),
        ("a\n", "cannot be named"),
        ("x" * 41, "at most 40 characters"),
        ("vedcore-plugin-mine", "leave the prefix out"),
        ("vedcore_plugin_mine", "leave the prefix out"),
        ("vit", "taken by an installed plugin"),
        ("linear", "taken by an installed plugin"),
        ("linereader", "taken by an installed plugin"),
        ("line-reader", "taken by an installed plugin"),
    ],
)
def test_an_invalid_name_is_refused_and_nothing_is_written(tmp_path, name, message):
    with pytest.raises(ConfigError, match=re.escape(message)) as raised:
        new_plugin(name, "encoder", tmp_path)
    assert (raised.value.field, raised.value.found) == ("name", name)
    done = CliRunner().invoke(app, ["new-plugin", "--role", "encoder", "--into", str(tmp_path), "--", name])
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_not_changed(tmp_path):
    (tmp_path / "vedcore-plugin-mine").mkdir()
    (tmp_path / "vedcore-plugin-mine/precious").write_text("x")
    with pytest.raises(ConfigError, match="exists already"):
        new_plugin("mine", "encoder", tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["vedcore-plugin-mine", "precious"]


def test_an_unwritable_folder_and_an_unknown_role_are_errors(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(SaveError, match="not saved"):
        new_plugin("mine", "encoder", tmp_path / "file")
    with pytest.raises(ConfigError, match="no role 'both'; there are encoder, decoder, adapter"):
        new_plugin("mine", "both", tmp_path)


def test_the_command_prints_the_next_step_and_accepts_both_separators(tmp_path):
    into = tmp_path / "not/yet/there"
    done = CliRunner().invoke(app, ["new-plugin", "snake_case-v2", "--role", "adapter", "--into", str(into)])
    assert done.exit_code == 0
    project = into / "vedcore-plugin-snake-case-v2"
    assert f"pip install -e '{project}[test]'" in done.stdout
    assert "class SnakeCaseV2Adapter" in (project / "vedcore_plugin_snake_case_v2/model.py").read_text()
    assert (project / "tests/test_snake_case_v2.py").is_file()
