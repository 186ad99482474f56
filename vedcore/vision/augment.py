"""Images as worse cameras and older papers would show them, for training."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageFilter

from vedcore.config import field, strict


@strict
class Augmentation:
    """What may happen to an image: each change to ``share`` of the images, of a random strength up to what is given here.

    rotation: degrees either way, filled with the colour of the corners. blur: the radius of a Gaussian in pixels. noise: the
    deviation of grain, as a part of white. brightness: the part by which all values are made darker or lighter. jpeg: how
    far the quality falls below 95, in points.
    """

    share: float = field.rate(0.5)
    rotation: float = field.number(0.0, at_least=0, at_most=45)
    blur: float = field.number(0.0, at_least=0)
    noise: float = field.rate(0.0)
    brightness: float = field.rate(0.0)
    jpeg: float = field.number(0.0, at_least=0, at_most=90)

    def __call__(self, image: Image.Image, random: np.random.Generator) -> Image.Image:
        """An RGB image -> an RGB image of the same size; a pure function of the image and the state of ``random``."""
        if strength := self._strength(self.rotation, random):
            angle = strength * float(random.choice((-1, 1)))
            image = image.rotate(angle, Image.Resampling.BICUBIC, fillcolor=_background(image))
        if strength := self._strength(self.blur, random):
            image = image.filter(ImageFilter.GaussianBlur(strength))
        if strength := self._strength(self.brightness, random):
            factor = 1 + strength * random.choice((-1, 1))
            image = image.point([min(255, round(value * factor)) for value in range(256)] * 3)
        if strength := self._strength(self.noise, random):
            pixels = np.asarray(image) + random.normal(0, 255 * strength, (image.height, image.width, 1))
            image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        if strength := self._strength(self.jpeg, random):
            image = _as_jpeg(image, round(95 - strength))
        return image

    def _strength(self, most: float, random: np.random.Generator) -> float:
        """How strong a change is this time, 0 for not at all."""
        chosen, strength = random.random(2).tolist()
        return most * strength if chosen < self.share else 0.0


def _background(image: Image.Image) -> tuple[int, ...]:
    """The middle colour of the four corners."""
    right, bottom = image.width - 1, image.height - 1
    corners = [image.getpixel(at) for at in ((0, 0), (right, 0), (0, bottom), (right, bottom))]
    return tuple(int(value) for value in np.median(np.array(corners), axis=0))


def _as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")
