"""Random changes to training images: what worse cameras, older paper and stronger compression would do."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageFilter

from vedcore.config import field, strict


@strict
class Augmentation:
    """Each change is applied to ``share`` of the images, with a random strength up to the value of its field.

    rotation: degrees in either direction; the colour of the corners fills the gaps. blur: the radius of a Gaussian, in
    pixels. noise: the standard deviation of grey grain, as a fraction of white. brightness: the fraction by which all
    values become darker or lighter. jpeg: by how many points the quality falls below 95.
    """

    share: float = field.rate(0.5)
    rotation: float = field.number(0.0, at_least=0, at_most=45)
    blur: float = field.number(0.0, at_least=0)
    noise: float = field.rate(0.0)
    brightness: float = field.rate(0.0)
    jpeg: float = field.number(0.0, at_least=0, at_most=90)

    def __call__(self, image: Image.Image, random: np.random.Generator) -> Image.Image:
        """An RGB image -> an RGB image of the same size. The result depends only on the image and the state of ``random``."""
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

    def _strength(self, maximum: float, random: np.random.Generator) -> float:
        """The strength of a change for this image; 0 leaves the image as it is."""
        chosen, strength = random.random(2).tolist()
        return maximum * strength if chosen < self.share else 0.0


def _background(image: Image.Image) -> tuple[int, ...]:
    """The median colour of the four corners."""
    right, bottom = image.width - 1, image.height - 1
    corners = [image.getpixel(at) for at in ((0, 0), (right, 0), (0, bottom), (right, bottom))]
    return tuple(int(value) for value in np.median(np.array(corners), axis=0))


def _as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")
