"""Random changes to training images: other hands and typefaces, worse cameras, older paper, stronger compression."""

from __future__ import annotations

import io
from typing import Self

import numpy as np
from PIL import Image, ImageFilter

from vedcore.config import field, strict
from vedcore.vision.warping import background, warp, with_heavier, with_margins


@strict
class Augmentation:
    """Each change is applied to ``share`` of the images, with a random strength up to the value of its field; 0 is off.

    The changes of shape help most when the lines show few hands or typefaces. They work for dark text on light and for light
    text on dark, and make a picture larger where something would be cut off. New pixels have the background's colour.

    slant: degrees by which letters lean to either side.
    stretch: the fraction by which letters become wider or narrower, changing along the line.
    baseline: how far the text waves up and down, as a fraction of the height.
    stroke: how far the edges of strokes move outwards or inwards, as a fraction of the height.
    margin: the background added on each side, as a fraction of the height.
    rotation: degrees in either direction; the colour of the corners fills the gaps.
    blur: the radius of a Gaussian, in pixels.
    noise: the standard deviation of grey grain, as a fraction of white.
    brightness: the fraction by which all values become darker or lighter.
    jpeg: by how many points the quality falls below 95.
    """

    share: float = field.rate(0.5)
    slant: float = field.number(0.0, at_least=0, at_most=45)
    stretch: float = field.rate(0.0)
    baseline: float = field.rate(0.0)
    stroke: float = field.rate(0.0)
    margin: float = field.number(0.0, at_least=0, at_most=10)
    rotation: float = field.number(0.0, at_least=0, at_most=45)
    blur: float = field.number(0.0, at_least=0)
    noise: float = field.rate(0.0)
    brightness: float = field.rate(0.0)
    jpeg: float = field.number(0.0, at_least=0, at_most=90)

    @classmethod
    def usual(cls) -> Self:
        """Moderate changes of all kinds, for a checkpoint that learns from lines of few hands or typefaces."""
        return cls(
            share=0.5,
            slant=18.0,
            stretch=0.35,
            baseline=0.08,
            stroke=0.018,
            margin=0.3,
            blur=0.5,
            noise=0.02,
            brightness=0.2,
        )

    def __call__(self, image: Image.Image, random: np.random.Generator) -> Image.Image:
        """An RGB image -> an RGB image. The result depends only on the image and the state of ``random``."""
        image = self._reshaped(image, random)
        if strength := self._strength(self.rotation, random):
            angle = strength * float(random.choice((-1, 1)))
            image = image.rotate(angle, Image.Resampling.BICUBIC, fillcolor=background(image))
        if strength := self._strength(self.blur, random):
            image = image.filter(ImageFilter.GaussianBlur(strength))
        if strength := self._strength(self.brightness, random):
            factor = 1 + strength * random.choice((-1, 1))
            image = image.point(np.minimum(255, np.round(np.arange(256) * factor)).astype(int).tolist() * 3)
        if strength := self._strength(self.noise, random):
            pixels = np.asarray(image) + random.normal(0, 255 * strength, (image.height, image.width, 1))
            image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        if strength := self._strength(self.jpeg, random):
            image = _as_jpeg(image, round(95 - strength))
        return image

    def _reshaped(self, image: Image.Image, random: np.random.Generator) -> Image.Image:
        # Changes that are off draw no random numbers here: recipes from before these changes keep their images.
        if self.stroke and (strength := self._strength(self.stroke, random)):
            image = with_heavier(image, strength * image.height, dark=bool(random.integers(2)))
        slant = self._strength(self.slant, random) * float(random.choice((-1, 1))) if self.slant else 0.0
        stretch = self._strength(self.stretch, random) if self.stretch else 0.0
        baseline = self._strength(self.baseline, random) if self.baseline else 0.0
        if slant or stretch or baseline:
            image = warp(image, slant=slant, stretch=stretch, baseline=baseline, random=random)
        if self.margin and (strength := self._strength(self.margin, random)):
            left, top, right, bottom = random.uniform(0, strength * image.height, 4).round().astype(int).tolist()
            image = with_margins(image, left, top, right, bottom)
        return image

    def _strength(self, maximum: float, random: np.random.Generator) -> float:
        """The strength of a change for this image; 0 leaves the image as it is."""
        chosen, strength = random.random(2).tolist()
        return maximum * strength if chosen < self.share else 0.0


def _as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")
