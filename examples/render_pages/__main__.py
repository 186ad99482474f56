"""Render the pages of the benchmark, each with its text: NNN-kind.png and NNN-kind.txt."""

from __future__ import annotations

import argparse
from pathlib import Path

from render_pages import find_families, load_pages, render
from render_pages.page import SET
from vedcore.errors import VedcoreError


def write_pages(folder: Path, *, only: str = "", source: Path = SET) -> int:
    """Write the pages whose kind contains ``only`` to a folder. Returns how many there are.

    Raises ConfigError if a font is missing; it says which packages to install.
    """
    pages = [(number, page) for number, page in enumerate(load_pages(source), 1) if only in page.kind]
    families = find_families(page.family for _, page in pages)
    folder.mkdir(parents=True, exist_ok=True)
    for number, page in pages:
        image, text = render(page, families[page.family], number=number)
        name = page.name or f"{number:03}-{page.kind}"
        image.save(folder / f"{name}.png", optimize=True)
        (folder / f"{name}.txt").write_text(text, encoding="ascii")
    return len(pages)


def main() -> None:
    """Run ``python -m render_pages``."""
    parser = argparse.ArgumentParser(prog="python -m render_pages", description=__doc__)
    parser.add_argument("out", type=Path, help="the folder to write to")
    parser.add_argument("--only", default="", metavar="KIND", help="the pages whose kind contains KIND")
    parser.add_argument("--set", type=Path, default=SET, metavar="FILE", help="the toml file of the pages")
    options = parser.parse_args()
    try:
        print(f"{options.out}: {write_pages(options.out, only=options.only, source=options.set)} pages")
    except VedcoreError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
