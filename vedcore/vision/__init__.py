"""Images in: files and arrays become RGB images, RGB images become pixel values, long lines of text are cut.

The only package that imports Pillow.
"""

from vedcore.vision.augmentation import Augmentation
from vedcore.vision.cut_rule import CutRule
from vedcore.vision.cutting import CutPiece, cut_line
from vedcore.vision.image_processor import ImageProcessor
from vedcore.vision.loading import ImageSource, load_image
from vedcore.vision.png import as_png
from vedcore.vision.resolution import image_dpi

__all__ = [
    "Augmentation",
    "CutPiece",
    "CutRule",
    "ImageProcessor",
    "ImageSource",
    "as_png",
    "cut_line",
    "image_dpi",
    "load_image",
]
