"""The contract of a segmenter."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vedcore.testing import SegmenterContract
from vedcore_plugin_pages import PAGES


def draw(columns):
    """A page with lines of text in each column, at these places from the left."""
    image = Image.new("RGB", (640, 400), "white")
    for left in columns:
        for row in range(8):
            text = "quiet boats carry many small lights"
            ImageDraw.Draw(image).text((left, 40 + 30 * row), text, fill="black", font=ImageFont.load_default(16))
    return np.asarray(image)


class TestPages(SegmenterContract):
    record = PAGES
    pages = (draw([40]), draw([20, 340]), np.rot90(draw([60])), 255 - draw([40]))
