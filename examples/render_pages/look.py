"""What happens to a page after print: it is turned, laid on a desk, curled, blurred, lit, and saved."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter


@dataclass(frozen=True)
class Look:
    """The damage of a page. Lengths are in pixels of the finished page.

    turn: degrees anticlockwise. around: the colour of what is seen around the paper; None for more paper. desk: how much of it
    is seen on each side. curl: how far the paper bends up and down. blur: the radius of a Gaussian. shade: the share of light
    that is lost toward the lower right corner. noise: the standard deviation in grey levels. jpeg: a quality, 0 for none.
    """

    turn: float = 0.0
    around: str | None = None
    desk: int = 0
    curl: float = 0.0
    blur: float = 0.0
    shade: float = 0.0
    noise: float = 0.0
    jpeg: int = 0


def finished(image: Image.Image, look: Look, *, dot: int, paper: str, seed: int) -> Image.Image:
    """The page as a picture. dot: how many dots of the image become a pixel, each way."""
    around = look.around or paper
    if look.curl:
        image = _curled(image, look.curl * dot)
    if look.desk:
        desk = Image.new("RGB", (image.width + 2 * look.desk * dot, image.height + 2 * look.desk * dot), around)
        desk.paste(image, (look.desk * dot, look.desk * dot))
        image = desk
    if look.turn:
        image = image.rotate(look.turn, Image.Resampling.BICUBIC, expand=True, fillcolor=around)
    if dot > 1:
        image = image.resize((round(image.width / dot), round(image.height / dot)), Image.Resampling.BOX)
    if look.blur:
        image = image.filter(ImageFilter.GaussianBlur(look.blur))
    if look.shade or look.noise:
        image = _lit(image, look, np.random.default_rng(seed))
    if look.jpeg:
        image = _compressed(image, look.jpeg)
    return image.convert("L") if _is_grey(image) else image


def _curled(image: Image.Image, depth: float) -> Image.Image:
    """The image with its columns moved up and down along a wave that is as long as the page is wide."""
    pixels = np.asarray(image)
    height, width = pixels.shape[:2]
    shift = np.rint(depth * np.sin(np.linspace(0, 2 * np.pi, width))).astype(int)
    rows = np.clip(np.arange(height)[:, None] + shift[None], 0, height - 1)
    return Image.fromarray(pixels[rows, np.arange(width)[None]])


def _lit(image: Image.Image, look: Look, grain: np.random.Generator) -> Image.Image:
    """The image under uneven light, with noise that has no colour."""
    levels = np.asarray(image, np.float32)
    height, width = levels.shape[:2]
    across, down = np.linspace(0, 1, width, dtype=np.float32), np.linspace(0, 1, height, dtype=np.float32)
    light: NDArray[np.float32] = 1 - np.float32(look.shade) * (0.6 * across[None] + 0.4 * down[:, None])
    noise = grain.standard_normal((height, width, 1), np.float32) * np.float32(look.noise)
    return Image.fromarray(np.clip(np.rint(levels * light[:, :, None] + noise), 0, 255).astype(np.uint8))


def _compressed(image: Image.Image, quality: int) -> Image.Image:
    """The image after it was saved as a JPEG."""
    file = BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def _is_grey(image: Image.Image) -> bool:
    pixels = np.asarray(image)
    return bool((pixels == pixels[:, :, :1]).all())
