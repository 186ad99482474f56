"""Count the Python lines of the backbones, next to those of transformers for the same architectures.

    python -m tests.lines

Ours: each plugin's package, without its ``*testing.py`` and its tests, and ``vedcore/nn``, the bricks that they share.
Theirs: ``modeling_*.py`` and ``configuration_*.py`` of the same model types; no ``modular_*.py``, from which others of these
files are generated.

Logical lines are statements: each statement of the syntax tree is one, a compound one (``if``, ``def``, ``class``, ``with``,
``for``, ``try``) is one for its head, and so is each ``elif``, ``else``, ``except`` and ``finally`` with a body of its own,
each ``case``, and each decorator. A statement on several lines is one. Comments, blank lines and docstrings (any
statement that is only a string) do not count. Physical lines are all lines of a file.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
GOAL = 2800
"""Logical lines of all backbones and their bricks together, at most."""

ARCHITECTURES = {  # ours: the folders of transformers/models that hold the same
    "vit": ("vit",),
    "deit": ("deit",),
    "beit": ("beit",),
    "swin": ("swin", "donut"),
    "bert": ("bert",),
    "roberta": ("roberta", "xlm_roberta"),
    "distilbert": ("distilbert",),
    "gpt2": ("gpt2",),
    "bart": ("bart", "mbart"),
    "trocr": ("trocr",),
}


def main() -> None:
    """Print the table and say whether the goal is met."""
    models = transformers_models()
    columns = f"{'logical':>10}{'physical':>10}"
    print(f"{'':12}{'ours':^20}   {'transformers':^20}")
    print(f"{'':12}{columns}   {columns}")
    sums = [0, 0, 0, 0]
    for name, folders in ARCHITECTURES.items():
        files = [path for folder in folders for path in theirs(models / folder)]
        cells = [*count(plugin_files(name)), *count(files)]
        sums = [total + cell for total, cell in zip(sums, cells, strict=True)]
        print(f"{name:12}{cells[0]:10}{cells[1]:10}   {cells[2]:10}{cells[3]:10}   {', '.join(f.name for f in files)}")
    bricks = count((ROOT / "vedcore" / "nn").glob("*.py"))
    sums[:2] = [total + cell for total, cell in zip(sums[:2], bricks, strict=True)]
    print(f"{'vedcore/nn':12}{bricks[0]:10}{bricks[1]:10}")
    print(f"{'together':12}{sums[0]:10}{sums[1]:10}   {sums[2]:10}{sums[3]:10}")
    print(f"\n{sums[0]} logical lines, at most {GOAL} are wanted{'' if sums[0] <= GOAL else '   <- misses'}")


def transformers_models() -> Path:
    """The folder ``transformers/models``, found without importing it."""
    spec = importlib.util.find_spec("transformers")
    if spec is None or spec.origin is None:
        raise SystemExit("transformers is not installed: make .venv/.tools")
    return Path(spec.origin).parent / "models"


def plugin_files(name: str) -> list[Path]:
    """The files of one plugin that are counted."""
    package = ROOT / "plugins" / f"vedcore-plugin-{name}" / f"vedcore_plugin_{name}"
    return [path for path in sorted(package.rglob("*.py")) if not path.name.endswith("testing.py")]


def theirs(folder: Path) -> list[Path]:
    """The files of a backbone in a folder of transformers' models."""
    return sorted([*folder.glob("modeling_*.py"), *folder.glob("configuration_*.py")])


def count(files: Iterable[Path]) -> tuple[int, int]:
    """Logical and physical lines."""
    sources = [path.read_text() for path in files]
    if not sources:
        raise SystemExit("no files to count: has a folder moved?")
    return sum(map(logical, sources)), sum(len(source.splitlines()) for source in sources)


def logical(source: str) -> int:
    """The logical lines of a file's text."""
    return sum(map(weight, ast.walk(ast.parse(source))))


def weight(node: ast.AST) -> int:
    """The logical lines that this node adds by itself."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return 0
    heads = isinstance(node, ast.stmt | ast.excepthandler | ast.match_case)
    return heads + sum(1 for _ in branches(node)) + len(getattr(node, "decorator_list", ()))


def branches(node: ast.AST) -> Iterator[str]:
    """The ``else`` and ``finally`` of a statement; an ``elif`` is an ``if`` inside its ``else`` and counts as that."""
    orelse = getattr(node, "orelse", None)
    if isinstance(orelse, list) and orelse:
        is_elif = isinstance(node, ast.If) and len(orelse) == 1 and isinstance(orelse[0], ast.If)
        if not is_elif:
            yield "else"
    if getattr(node, "finalbody", None):
        yield "finally"


if __name__ == "__main__":
    main()
