"""CONTRIBUTING: its package tree is the real one, in the order of the levels, and the files that it names exist."""

import re
from pathlib import Path

import pytest

from tests.test_architecture import LEVEL

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
TREE = re.findall(r"^  ([a-z]+)/? {2,}", PAGE, re.M)
FILES = sorted(set(re.findall(r"`((?:vedcore|tests|plugins|docs)/[\w/.]*)`", PAGE)))
TARGETS = re.findall(r"`make ([a-z-]+)`", PAGE)
NAMED = re.findall(r"`(vedcore/[\w/]+\.py)`: `(?:\w+\.)?(\w+)`", PAGE)


def test_the_tree_lists_every_package_and_each_before_those_that_import_it():
    assert set(TREE) == set(LEVEL) - {"_moved", "__main__"}
    levels = [LEVEL[name] for name in TREE]
    assert levels == sorted(levels)


@pytest.mark.parametrize("path", FILES)
def test_every_file_that_is_named_exists(path):
    assert (ROOT / path).exists()


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_every_function_that_is_named_is_in_its_file(path, name):
    assert f"def {name}(" in (ROOT / path).read_text()


def test_every_make_target_exists():
    makefile = (ROOT / "Makefile").read_text()
    assert TARGETS
    assert all(re.search(rf"^{target}:", makefile, re.M) for target in TARGETS)


def test_every_link_leads_to_a_file():
    assert all((ROOT / path).is_file() for path in re.findall(r"\]\(([^)#]+)", PAGE))
