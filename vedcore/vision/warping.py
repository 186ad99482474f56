"""Change the shapes in the picture of a line: slant, uneven width and baseline, thicker or thinner strokes, wider margins.

Shapes: H x W pixels, C channels. A picture grows where its content would be cut off. New pixels have one colour, that of the
background.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_STRIP = 0.5  # heights: in a strip of this width the wave of the baseline is a straight line
_NARROWEST_STRIP = 4  # pixels
_STRETCH_LENGTHS = (3.0, 12.0)  # heights between the widest letters
_BASELINE_LENGTHS = (4.0, 16.0)  # heights between the highest letters


def background(image: Image.Image) -> tuple[int, ...]:
    """The median colour of the four corners."""
    right, bottom = image.width - 1, image.height - 1
    corners = [image.getpixel(at) for at in ((0, 0), (right, 0), (0, bottom), (right, bottom))]
    return tuple(int(value) for value in np.median(np.array(corners), axis=0))


def warp(
    image: Image.Image, *, slant: float, stretch: float, baseline: float, random: np.random.Generator
) -> Image.Image:
    """Shear the picture by ``slant`` degrees, to the right if positive. Make letters up to 1 + ``stretch`` times as wide or as
    narrow, and move them up and down by up to ``baseline`` heights: two sines along the line, of random length and phase.
    """
    shear = math.tan(math.radians(slant))
    rise = baseline * image.height
    height = math.ceil(image.height + 2 * rise)
    overhang = abs(shear) * height / 2
    strip = max(_STRIP * image.height, _NARROWEST_STRIP)
    # Edges of strips: where they are in the picture, and where they come to lie in the result.
    old = np.linspace(-overhang, image.width + overhang, 2 + int((image.width + 2 * overhang) / strip))
    factor = (1 + stretch) ** _sine(old / image.height, _STRETCH_LENGTHS, random)
    new = np.concatenate([[0.0], np.cumsum(np.diff(old) * (factor[1:] + factor[:-1]) / 2)])
    edges = np.unique(np.round(new)).astype(int)
    old = np.interp(edges, new, old)
    top = rise * (_sine(old / image.height, _BASELINE_LENGTHS, random) - 1)
    lean = shear * height / 2
    strips = []
    for (left, right), (old_left, old_right), (above_left, above_right) in zip(
        pairwise(edges.tolist()), pairwise(old.tolist()), pairwise(top.tolist()), strict=True
    ):
        upper_left, lower_left = (old_left - lean, above_left), (old_left + lean, above_left + height)
        upper_right, lower_right = (old_right - lean, above_right), (old_right + lean, above_right + height)
        strips.append(((left, 0, right, height), (*upper_left, *lower_left, *lower_right, *upper_right)))
    size, fill = (int(edges[-1]), height), background(image)
    if len({channel.tobytes() for channel in image.split()}) == 1:  # a grey picture takes a third of the time
        grey = image.getchannel(0).transform(
            size, Image.Transform.MESH, strips, Image.Resampling.BILINEAR, fillcolor=fill[0]
        )
        return Image.merge("RGB", (grey, grey, grey))
    return image.transform(size, Image.Transform.MESH, strips, Image.Resampling.BILINEAR, fillcolor=fill)


def with_heavier(image: Image.Image, distance: float, *, dark: bool) -> Image.Image:
    """The picture with the edges of its dark parts moved outwards by ``distance`` pixels; of its light parts unless ``dark``.

    For a part of a pixel the two nearest pictures are mixed.
    """
    pixels = np.asarray(image)
    whole = int(distance)
    for _ in range(whole):
        pixels = _spread(pixels, dark)
    if rest := distance - whole:
        pixels = (pixels + rest * (_spread(pixels, dark) - pixels.astype(np.float32))).round().astype(np.uint8)
    return Image.fromarray(pixels)


def with_margins(image: Image.Image, left: int, top: int, right: int, bottom: int) -> Image.Image:
    """The picture with so many more pixels of background on each side."""
    larger = Image.new(image.mode, (left + image.width + right, top + image.height + bottom), background(image))
    larger.paste(image, (left, top))
    return larger


def _sine(at: NDArray[np.float64], lengths: tuple[float, float], random: np.random.Generator) -> NDArray[np.float64]:
    """A sine of random length and phase at the places ``at``, both in heights."""
    length, phase = random.uniform(*lengths), random.uniform(0, 2 * math.pi)
    values: NDArray[np.float64] = np.sin(2 * math.pi * at / length + phase)
    return values


def _spread(pixels: NDArray[np.uint8], dark: bool) -> NDArray[np.uint8]:
    """(H, W, C) -> (H, W, C): the darkest, or the lightest, of each pixel and its four neighbours."""
    choose = np.minimum if dark else np.maximum
    result = pixels.copy()
    choose(result[1:], pixels[:-1], out=result[1:])
    choose(result[:-1], pixels[1:], out=result[:-1])
    choose(result[:, 1:], pixels[:, :-1], out=result[:, 1:])
    choose(result[:, :-1], pixels[:, 1:], out=result[:, :-1])
    return result
