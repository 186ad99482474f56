"""Write the lines of a data set to a folder, or show them on one sheet."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from render_lines.alphabet import ALPHABET
from render_lines.dataset import load
from render_lines.faces import Face, find_faces
from render_lines.folder import write_folder
from vedcore.errors import VedcoreError
from vedcore.training import Sample

CELL = (360, 72)  # width and height in pixels of a line on the sheet, including its text
COLUMNS = 4


def sheet(lines: list[Sample], faces: Iterable[Face] = ()) -> Image.Image:
    """One image with all lines, each with its text below it, in the first of ``faces`` that has the whole alphabet."""
    width, height = CELL
    page = Image.new("RGB", (COLUMNS * width, -(-len(lines) // COLUMNS) * height), "white")
    face = next((face for face in faces if face.glyphs >= ALPHABET), None)
    draw, font = ImageDraw.Draw(page), face.font(12) if face else ImageFont.load_default(12)
    for number, line in enumerate(lines):
        left, top = number % COLUMNS * width, number // COLUMNS * height
        picture = line.image.copy()
        picture.thumbnail((width - 12, height - 24))
        page.paste(picture, (left + 6, top + 4))
        draw.text((left + 6, top + height - 18), line.text, fill="blue", font=font)
    return page


def main() -> None:
    """Run ``python -m render_lines``."""
    parser = argparse.ArgumentParser(prog="python -m render_lines", description=__doc__)
    parser.add_argument("dataset", nargs="?", help="the toml file of a data set, or words, prose or held_out")
    parser.add_argument("--count", type=int, default=100, help="how many lines, starting with the first (default: 100)")
    parser.add_argument("--out", type=Path, help="write the images and labels.jsonl to this new folder")
    parser.add_argument("--sheet", type=Path, help="write one image that shows all lines")
    parser.add_argument("--faces", action="store_true", help="list the faces of the data set, or of this machine")
    options = parser.parse_args()
    try:
        if options.dataset is None and not options.faces:
            parser.error("name a data set, or pass --faces")
        lines = options.dataset and load(options.dataset)
        if options.faces:
            faces = lines.faces if lines else find_faces()
            for face in faces:
                print(f"{'held out' if face.held_out else 'training':9} {face.family} {face.style}")
            print(f"{len(faces)} faces of {len({face.family for face in faces})} families")
        if lines:
            wanted = range(min(options.count, len(lines)))
            if options.out:
                print(f"{options.out}: {write_folder(map(lines.__getitem__, wanted), options.out)} lines")
            if options.sheet:
                sheet(list(map(lines.__getitem__, wanted)), lines.faces).save(options.sheet)
    except VedcoreError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
