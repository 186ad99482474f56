"""The count of repeated windows: what it counts, and that plugin packages do not start to copy each other again."""

from tests.duplicates import ROOT, code_lines, main, packages, repeated

LINES = [f"x{number} = {number}" for number in range(8)]


def write(root, package, lines):
    folder = root / f"plugins/vedcore-plugin-{package}/vedcore_plugin_{package}"
    folder.mkdir(parents=True)
    (folder / "model.py").write_text("\n".join(lines) + "\n")


def test_blank_lines_comments_and_imports_do_not_count():
    source = "import os\nfrom sys import (\n    path,\n)\n\n# a comment\nif path:\n    x = 1\n"
    assert code_lines(source) == ["if path:", "x = 1"]


def test_windows_of_two_packages_and_of_one_count_once_in_the_total(tmp_path):
    write(tmp_path, "one", LINES)
    write(tmp_path, "two", ["# other", *LINES])
    write(tmp_path, "three", [*LINES[:6], "other = 1", *LINES[:6]])
    shared = {names: len(windows) for names, windows in repeated(packages(tmp_path)).items()}
    assert shared == {("one", "two"): 3, ("one", "three"): 1, ("three", "two"): 1, ("three",): 1}
    assert main(tmp_path) == 3


def test_plugin_packages_repeat_few_windows():
    assert main(ROOT) <= 39  # half of the 79 that were there before the packages shared bricks
