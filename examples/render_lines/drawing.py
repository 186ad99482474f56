"""Ink and paper: a text becomes the share of each pixel that ink covers, and that becomes a picture.

Cover is an image of mode "L": 0 is bare paper, 255 is full ink. ``chance`` decides, ``grain`` supplies noise.
"""

from __future__ import annotations

import math
from io import BytesIO
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

FAINT = 24  # cover up to this is no ink: nobody would see it as part of a letter
TAIL = 3  # pixels around the ink that hold what is fainter
LEAST_INK, MOST_INK = 0.6, 1.7  # of the ink before: outside, a scan has lost or drowned its letters
LOWEST = 18  # pixels: the height of the coarsest scan

Margins = tuple[int, int, int, int]
Levels = NDArray[np.float32]


def ink(
    text: str, font: ImageFont.FreeTypeFont, *, tilt: float = 0.0, blur: float = 0.0, margin: int = TAIL
) -> Image.Image:
    """The cover of a text, ``tilt`` degrees anticlockwise, ``blur`` pixels soft, with ``margin`` pixels around its ink.

    Raises ValueError: the text leaves no ink.
    """
    length = font.getlength(text)
    size = int(font.size)
    # Tilted and soft, a text needs more room; letters hang over both ends, in height over twice the size.
    room = margin + size // 2 + math.ceil(abs(math.sin(math.radians(tilt))) * length + 3 * blur)
    cover = Image.new("L", (int(length) + 2 * room, 2 * size + 2 * room), 0)
    ImageDraw.Draw(cover).text((room, room), text, fill=255, font=font)
    if tilt:
        cover = cover.rotate(tilt, Image.Resampling.BICUBIC)
    if blur:
        cover = cover.filter(ImageFilter.GaussianBlur(blur))
    return framed(cover, (margin,) * 4)


def framed(cover: Image.Image, margins: Margins, wide: float = 0.0) -> Image.Image:
    """The ink in its paper: ``margins`` (left, top, right, bottom), and more on the right until it is ``wide`` heights wide.

    Raises ValueError: there is no ink.
    """
    box = cover.point(_INK).getbbox()
    if box is None:
        raise ValueError("the text leaves no ink")
    left, top, right, bottom = box[0] - margins[0], box[1] - margins[1], box[2] + margins[2], box[3] + margins[3]
    return cover.crop((left, top, max(right, left + round(wide * (bottom - top))), bottom))


_INK = [255 * (level > FAINT) for level in range(256)]


def scanned(cover: Image.Image, chance: Random, grain: np.random.Generator) -> Image.Image:
    """The cover as worn type and a scanner of two levels and few dots would have it; as it was where little would be left."""
    width, height = cover.size
    big = cover.resize((2 * width, 2 * height), Image.Resampling.BILINEAR)
    big = big.filter(ImageFilter.GaussianBlur(chance.uniform(0.4, 0.05 * height)))
    dots = np.asarray(big)
    if spread := chance.choice((None, np.minimum, np.maximum)):
        dots = _neighbours(dots, spread)
    coarse = Image.fromarray(_noise(grain, (height // 2 + 1, width // 2 + 1), chance.uniform(0, 40), 128))
    rough = np.asarray(coarse.resize(big.size, Image.Resampling.BILINEAR), np.int16) - 128
    bits = Image.fromarray(np.where(dots + rough > 255 * chance.uniform(0.35, 0.65), np.uint8(255), np.uint8(0)))
    low = chance.randint(min(LOWEST, height), height)
    scan = bits.resize((max(round(width * low / height), 1), low), Image.Resampling.BOX)
    kept = float(np.asarray(scan).mean() / np.asarray(cover).mean())
    return scan if LEAST_INK <= kept <= MOST_INK else cover


def _neighbours(dots: NDArray[np.uint8], choose: np.ufunc) -> NDArray[np.uint8]:
    """The least or the most of each pixel and the eight around it."""
    for axis in (0, 1):
        pad = [(1, 1) if axis == own else (0, 0) for own in (0, 1)]
        wide = np.pad(dots, pad)
        low, high = (wide[:-2], wide[2:]) if axis == 0 else (wide[:, :-2], wide[:, 2:])
        dots = choose(choose(low, dots), high)
    return dots


def _noise(grain: np.random.Generator, shape: tuple[int, int], deviation: float, middle: float) -> NDArray[np.uint8]:
    noise = grain.standard_normal(shape, np.float32) * np.float32(deviation) + np.float32(middle)
    levels: NDArray[np.uint8] = np.clip(noise, 0, 255).astype(np.uint8)
    return levels


def printed(cover: Image.Image, paper: float, ink_level: float) -> Levels:
    """Ink of one grey level on paper of another: (height, width) levels from 0 to 255."""
    return np.float32(paper) + np.asarray(cover, np.float32) * np.float32((ink_level - paper) / 255)


def shaded(levels: Levels, chance: Random) -> Levels:
    """Under a light that falls off to one side and a corner, by up to half."""
    height, width = levels.shape
    across = np.linspace(0, chance.uniform(-0.4, 0.4), width, dtype=np.float32)
    down = np.linspace(0, chance.uniform(-0.2, 0.2), height, dtype=np.float32)
    light: Levels = across[None] + down[:, None]
    lit: Levels = levels * (1 + light - light.max())
    return lit


def grainy(levels: Levels, chance: Random, grain: np.random.Generator) -> Levels:
    """With grain of 1 to 14 grey levels."""
    return levels + grain.standard_normal(levels.shape, np.float32) * np.float32(chance.uniform(1, 14))


def picture(levels: Levels) -> Image.Image:
    """An image of mode "L" of the levels, cut off at black and white."""
    return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    """The image after a JPEG file of that quality."""
    file = BytesIO()
    image.save(file, "JPEG", quality=quality)
    again = Image.open(file)
    again.load()
    return again


def tinted(image: Image.Image, chance: Random) -> Image.Image:
    """The grey image in the colours of a dye on a paper: mode "RGB"."""
    dark = tuple(chance.randint(0, 70) for _ in range(3))
    light = tuple(chance.randint(200, 255) for _ in range(3))
    return ImageOps.colorize(image, dark, light)
