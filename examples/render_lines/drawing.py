"""Draw a text: first a cover, the share of each pixel that ink covers, and then the image with ink and paper.

A cover is an image of mode "L": 0 is bare paper, 255 is full ink. Random choices come from ``chance``, noise from ``grain``.
"""

from __future__ import annotations

import math
from io import BytesIO
from random import Random

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

FAINT = 24  # cover up to this value does not count as ink, because it is not visible as part of a letter
TAIL = 3  # pixels around the ink that contain the fainter cover
LEAST_INK, MOST_INK = 0.6, 1.7  # of the ink before; outside this range a scan has made its letters unreadable
LOWEST = 18  # pixels: the height of the coarsest scan

Margins = tuple[int, int, int, int]
Levels = NDArray[np.float32]


def ink(
    text: str, font: ImageFont.FreeTypeFont, *, tilt: float = 0.0, blur: float = 0.0, margin: int = TAIL
) -> Image.Image:
    """The cover of a text with ``margin`` pixels around its ink. tilt: degrees anticlockwise. blur: a radius in pixels.

    Raises ValueError if the text has no ink.
    """
    length = font.getlength(text)
    size = int(font.size)
    # A tilted or blurred text is larger, and letters may extend beyond both ends of the line and above and below it.
    room = margin + size // 2 + math.ceil(abs(math.sin(math.radians(tilt))) * length + 3 * blur)
    cover = Image.new("L", (int(length) + 2 * room, 2 * size + 2 * room), 0)
    ImageDraw.Draw(cover).text((room, room), text, fill=255, font=font)
    if tilt:
        cover = cover.rotate(tilt, Image.Resampling.BICUBIC)
    if blur:
        cover = cover.filter(ImageFilter.GaussianBlur(blur))
    return framed(cover, (margin,) * 4)


def framed(cover: Image.Image, margins: Margins, wide: float = 0.0) -> Image.Image:
    """The cover with ``margins`` (left, top, right, bottom) around its ink, and at least ``wide`` times as wide as high.

    The additional paper is on the right. Raises ValueError if there is no ink.
    """
    box = cover.point(_INK).getbbox()
    if box is None:
        raise ValueError("the text has no ink")
    left, top, right, bottom = box[0] - margins[0], box[1] - margins[1], box[2] + margins[2], box[3] + margins[3]
    return cover.crop((left, top, max(right, left + round(wide * (bottom - top))), bottom))


_INK = [255 * (level > FAINT) for level in range(256)]


def scanned(cover: Image.Image, chance: Random, grain: np.random.Generator) -> Image.Image:
    """The cover after worn type and a coarse scan in black and white; unchanged if that would destroy the letters."""
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
    """The minimum or the maximum of each pixel and its eight neighbours."""
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
    """The cover as ink of one grey level on paper of another: (height, width), 0 to 255."""
    return np.float32(paper) + np.asarray(cover, np.float32) * np.float32((ink_level - paper) / 255)


def shaded(levels: Levels, chance: Random) -> Levels:
    """The levels under uneven light, darker to one side and to one corner by up to half."""
    height, width = levels.shape
    across = np.linspace(0, chance.uniform(-0.4, 0.4), width, dtype=np.float32)
    down = np.linspace(0, chance.uniform(-0.2, 0.2), height, dtype=np.float32)
    light: Levels = across[None] + down[:, None]
    lit: Levels = levels * (1 + light - light.max())
    return lit


def grainy(levels: Levels, chance: Random, grain: np.random.Generator) -> Levels:
    """The levels with noise, whose standard deviation is 1 to 14 grey levels."""
    return levels + grain.standard_normal(levels.shape, np.float32) * np.float32(chance.uniform(1, 14))


def picture(levels: Levels) -> Image.Image:
    """The levels as an image of mode "L", limited to 0 and 255."""
    return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    """The image after it was saved as a JPEG of this quality."""
    file = BytesIO()
    image.save(file, "JPEG", quality=quality)
    again = Image.open(file)
    again.load()
    return again


def tinted(image: Image.Image, chance: Random) -> Image.Image:
    """The grey image with a dark colour for ink and a light colour for paper, in mode "RGB"."""
    dark = tuple(chance.randint(0, 70) for _ in range(3))
    light = tuple(chance.randint(200, 255) for _ in range(3))
    return ImageOps.colorize(image, dark, light)
