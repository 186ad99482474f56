"""docs/write-a-plugin.md: its blocks are the example project, and that project works as the page says."""

import re
from pathlib import Path

import pytest

from tests.test_scaffold import install, run

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/write-a-plugin.md"
PROJECT = ROOT / "examples/vedcore-plugin-convnext"
BLOCK = re.compile(r'^```\w+ title="([^"\n]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
UNTOLD = {"README.md", "vedcore_plugin_convnext/py.typed"}


def told():
    """What the page says that each file holds: its blocks in order."""
    files = {}
    for name, block in BLOCK.findall(PAGE.read_text()):
        files.setdefault(name, []).append(block)
    return {name: "\n".join(blocks) for name, blocks in files.items()}


def lines(text):
    """What a text says, whatever blank lines part its blocks."""
    return [line for line in text.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The project as a reader of the page writes it."""
    folder = tmp_path_factory.mktemp("vedcore-plugin-convnext")
    for name, text in told().items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def site(project, tmp_path_factory):
    """A folder with that project's package installed."""
    folder = tmp_path_factory.mktemp("site")
    install(project, folder)
    return folder


def test_the_blocks_are_the_files_of_the_example_all_and_whole():
    files = {str(path.relative_to(PROJECT)): path for path in PROJECT.rglob("*") if path.suffix in {".py", ".toml"}}
    blocks = told()
    assert set(files) == set(blocks)
    assert all((PROJECT / name).is_file() for name in UNTOLD)
    for name, text in blocks.items():
        assert lines(text) == lines(files[name].read_text()), name


def test_every_file_of_the_page_has_a_home_in_its_picture_of_the_project():
    picture = PAGE.read_text().split("```")[1]
    for name in {*told(), *UNTOLD}:
        assert Path(name).name in picture


def test_the_project_passes_the_contract_and_its_own_tests(project, site):
    command = ("-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "tests")
    assert re.search(r"\d+ passed", run(*command, cwd=project, path=site))


def test_it_is_found_composed_trained_and_writes_what_the_page_shows(project, site):
    assert "encoder convnext" in run("-m", "vedcore", "plugins", cwd=project, path=site)
    printed = run("-W", "error", "compose.py", cwd=project, path=site)
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+)", printed)]
    assert losses[-1] < losses[0] / 2
    written = [line for line in printed.splitlines() if line.startswith("[")]
    assert written == ["[[1, 11, 12, 2, 0], [1, 13, 14, 15, 2]]"] * 2
    assert all(line in PAGE.read_text() for line in written)
