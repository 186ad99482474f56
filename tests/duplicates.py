"""Count the code that plugin packages repeat: ``python -m tests.duplicates [ROOT]``.

A window is six consecutive lines of one file under plugins/*/vedcore_plugin_*/. Blank lines, comments and imports are left
out first, and white space at the ends of lines does not count. A window is repeated if it occurs in two packages, or more
than once in one. The command prints, for each pair of packages, the number of different windows that both hold; for each
package, the number that it holds more than once; then the number of different windows that are repeated anywhere.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

ROOT = Path(__file__).parent.parent
LENGTH = 6

Window = tuple[str, ...]


def code_lines(source: str) -> list[str]:
    """The lines of a file that count, stripped. Every line of an import that spans several is left out."""
    imports = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    lines = enumerate(source.splitlines(), start=1)
    stripped = (line.strip() for number, line in lines if number not in imports)
    return [line for line in stripped if line and not line.startswith("#")]


def windows(source: str) -> Iterator[Window]:
    """Each six consecutive lines of a file, in order."""
    lines = code_lines(source)
    return (tuple(lines[start : start + LENGTH]) for start in range(len(lines) - LENGTH + 1))


def packages(root: Path = ROOT) -> dict[str, Counter[Window]]:
    """How often each window occurs in each plugin package below ``root``, by the package's name."""
    found: dict[str, Counter[Window]] = defaultdict(Counter)
    for path in sorted((root / "plugins").glob("*/vedcore_plugin_*/**/*.py")):
        package = path.relative_to(root / "plugins").parts[1]
        found[package.removeprefix("vedcore_plugin_")].update(windows(path.read_text()))
    return dict(found)


def repeated(found: dict[str, Counter[Window]]) -> dict[tuple[str, ...], set[Window]]:
    """The repeated windows of each pair of packages that share any, and of each package that repeats its own."""
    within = {(name,): {window for window, count in own.items() if count > 1} for name, own in found.items()}
    between = {(one, two): found[one].keys() & found[two].keys() for one, two in combinations(sorted(found), 2)}
    return {names: windows for names, windows in (within | between).items() if windows}


def main(root: Path = ROOT) -> int:
    """Print the counts; the total is the return value."""
    shared = repeated(packages(root))
    for names, own in sorted(shared.items(), key=lambda item: (-len(item[1]), item[0])):
        print(f"{len(own):5}  {' and '.join(names) if len(names) > 1 else f'within {names[0]}'}")
    total = len(set().union(*shared.values()))
    print(f"{total:5}  different windows of {LENGTH} lines are repeated")
    return total


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
