"""Render the example line images in ``examples/images`` and their ``labels.jsonl``.

Each image shows one line of printed text of a kind that people scan: a number, a date, a name, a phrase. The images differ in
font, size, paper and damage (noise, blur, tilt, JPEG, low contrast, uneven light). They are rendered and not scanned, so their
texts are known exactly and the files may be shared. The texts, fonts and seed were chosen for people to read, before any
model read the images. Keep this order when you change them: otherwise the images would suit one model.

The images in the repository were made with the Debian 12 packages fonts-dejavu-core, fonts-liberation and
fonts-freefont-ttf. The same fonts and the same versions of Pillow and numpy give the same bytes.

Run: python examples/render_examples.py --out examples/images
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFont
from render_lines.drawing import ink
from render_lines.folder import write_labels

FONT_ROOT = Path("/usr/share/fonts")
PACKAGES = "fonts-dejavu-core fonts-liberation fonts-freefont-ttf"
SEED = 20240

Colour = tuple[int, int, int]
WHITE: Colour = (255, 255, 255)
CREAM: Colour = (250, 242, 220)
GREY: Colour = (206, 206, 206)
NAVY: Colour = (24, 34, 62)
BLACK: Colour = (16, 16, 16)
BROWN: Colour = (66, 44, 28)
MID_GREY: Colour = (128, 128, 128)

# Each family with the names of its files; the first one found is used.
FONTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("DejaVu Sans", ("DejaVuSans.ttf",)),
    ("DejaVu Sans Bold", ("DejaVuSans-Bold.ttf",)),
    ("DejaVu Sans Mono", ("DejaVuSansMono.ttf",)),
    ("DejaVu Serif", ("DejaVuSerif.ttf",)),
    ("Liberation Sans", ("LiberationSans-Regular.ttf",)),
    ("Liberation Sans Bold", ("LiberationSans-Bold.ttf",)),
    ("Liberation Serif", ("LiberationSerif-Regular.ttf",)),
    ("Liberation Serif Bold", ("LiberationSerif-Bold.ttf",)),
    ("Liberation Mono", ("LiberationMono-Regular.ttf",)),
    ("FreeSans", ("FreeSans.ttf", "FreeSans.otf")),
    ("FreeSerif", ("FreeSerif.ttf", "FreeSerif.otf")),
    ("FreeSerif Italic", ("FreeSerifItalic.ttf", "FreeSerifItalic.otf")),
)


@dataclass(frozen=True)
class Line:
    """One image: its text, its type, and its damage."""

    file: str
    text: str
    font: str
    size: int  # pixels per em
    paper: Colour = WHITE
    ink: Colour = BLACK
    margin: int = 6  # pixels between the ink and each edge
    tilt: float = 0.0  # degrees, anticlockwise
    blur: float = 0.0  # Gaussian radius in pixels
    shade: float = 0.0  # the share of light that is lost at the right edge
    noise: float = 0.0  # standard deviation in grey levels
    quality: int = 60  # JPEG files only


FERRY = "The ferry left the harbour at noon, and by dusk we could see the island."
TICKET = "Keep this ticket until the end of your journey; it may be checked."

# In the order of the file names. Most lines without descenders have a wider margin, so that the heights are similar.
LINES: tuple[Line, ...] = (
    Line("01-invoice-number.png", "Invoice No. 20417", "Liberation Sans", 32, margin=8),
    Line("02-amount.png", "$1,284.50", "DejaVu Sans Mono", 36, margin=8, noise=5.0),
    Line("03-date.png", "14 March 1987", "FreeSerif", 34, CREAM, BROWN, margin=8, tilt=0.9),
    Line("04-heading.png", "Annual Report", "Liberation Serif Bold", 44, margin=8),
    Line("05-product-code.png", "SKU: AX-4091/B", "Liberation Mono", 28, GREY, margin=8, noise=4.0),
    Line("06-name.png", "Dr. Eleanor Whitby", "DejaVu Serif", 30, CREAM, blur=0.9),
    Line("07-parcel-label.jpg", "Handle with care!", "Liberation Sans Bold", 36, margin=8, quality=45),
    Line("08-street-address.png", "221 Harbour Street", "FreeSerif Italic", 34, GREY, tilt=-1.2, blur=0.5),
    Line("09-door-sign.png", "EXIT ONLY", "DejaVu Sans Bold", 40, NAVY, CREAM, margin=8),
    Line("10-phone-number.png", "(555) 014-7732", "FreeSans", 30, GREY, MID_GREY, margin=5),
    Line("11-email-address.png", "orders@example.com", "DejaVu Sans", 26, shade=0.45, noise=2.0),
    Line("12-receipt-line.jpg", "Qty 3 @ 7.99 = 23.97", "Liberation Mono", 24, CREAM, noise=3.0, quality=65),
    Line("13-long-sentence.png", FERRY, "Liberation Serif", 24, margin=5, tilt=0.3),
    Line("14-long-small-print.png", TICKET, "DejaVu Sans", 20, GREY, margin=5, blur=0.5, noise=2.0),
)


def find_fonts() -> dict[str, Path]:
    """The file of each family. Exits with the packages to install if one is missing."""
    installed = {path.name: path for path in sorted(FONT_ROOT.rglob("*")) if path.suffix in (".ttf", ".otf")}
    found: dict[str, Path] = {}
    for family, names in FONTS:
        path = next((installed[name] for name in names if name in installed), None)
        if path is None:
            raise SystemExit(f"font {family} not found in {FONT_ROOT}: apt-get install {PACKAGES}")
        found[family] = path
    return found


def print_on_paper(line: Line, mask: Image.Image, seed: int) -> Image.Image:
    """The ink on its paper, darker to the right, with grey noise."""
    cover = np.asarray(mask, dtype=np.float64)[:, :, None] / 255.0
    pixels: NDArray[np.float64] = np.array(line.paper) * (1.0 - cover) + np.array(line.ink) * cover
    height, width = cover.shape[:2]
    pixels *= np.linspace(1.0, 1.0 - line.shade, width)[None, :, None]
    noise = np.random.default_rng(seed).normal(0.0, 1.0, (height, width, 1))
    levels = np.clip(np.rint(pixels + line.noise * noise), 0, 255).astype(np.uint8)
    image = Image.fromarray(levels)
    is_grey = bool((levels == levels[:, :, :1]).all())
    return image.convert("L") if is_grey else image


def save(line: Line, image: Image.Image, folder: Path) -> None:
    """Write the image in the format of its suffix."""
    path = folder / line.file
    if path.suffix == ".jpg":
        image.save(path, quality=line.quality, optimize=True)
    else:
        image.save(path, optimize=True)


def main() -> None:
    """Render every line, then write the labels."""
    parser = argparse.ArgumentParser(description="Render the example line images and their labels.")
    parser.add_argument("--out", type=Path, default=Path("examples/images"), help="folder to write to")
    folder: Path = parser.parse_args().out
    fonts = find_fonts()
    folder.mkdir(parents=True, exist_ok=True)
    for number, line in enumerate(LINES):
        font = ImageFont.truetype(str(fonts[line.font]), line.size, layout_engine=ImageFont.Layout.BASIC)
        mask = ink(line.text, font, tilt=line.tilt, blur=line.blur, margin=line.margin)
        save(line, print_on_paper(line, mask, SEED + number), folder)
    write_labels(folder, [(line.file, line.text) for line in LINES])


if __name__ == "__main__":
    main()
