"""docs/coming-from-transformers.md: its two programs are one but for their imports, and every block prints what it shows."""

import re
from pathlib import Path

import pytest

from tests.test_pairs import loaded_by_them
from vedcore import VisionEncoderDecoderModel

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/coming-from-transformers.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.S)
SHOWN = re.findall(r"```\n\n(?:Both print\n\n)?```\n(.*?)```", PAGE, re.S)
THEIRS, OURS, *LATER = BLOCKS

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:transformers")


def run(block, names, folder, capsys):
    """What a block prints; folders that it writes are in ``folder``."""
    block = re.sub(r'"(my-\w+)"', lambda found: repr(str(folder / found[1])), block)
    exec(compile(block, "coming-from-transformers.md", "exec"), names)
    return capsys.readouterr().out


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_only_the_import_lines_of_the_two_programs_differ():
    ours, theirs = ([line for line in block.splitlines() if " import " not in line] for block in (OURS, THEIRS))
    assert ours == theirs
    assert len(list(filter(None, ours))) + 1 in range(15, 25)


def test_every_block_prints_what_the_page_shows_and_each_library_loads_what_the_other_saved(tmp_path, capsys):
    (tmp_path / "theirs").mkdir()
    assert len(SHOWN) == 1 + len(LATER)
    assert run(THEIRS, {}, tmp_path / "theirs", capsys) == SHOWN[0]
    names = {}
    for block, shown in zip([OURS, *LATER], SHOWN, strict=True):
        assert run(block, names, tmp_path, capsys) == shown
    loaded_by_them(tmp_path / "my-model")
    VisionEncoderDecoderModel.from_pretrained(tmp_path / "theirs" / "my-model")


def test_the_links_of_the_page_have_targets():
    for link in re.findall(r"\]\((\S+?)\)", PAGE):
        assert (ROOT / "docs" / link).is_file()
