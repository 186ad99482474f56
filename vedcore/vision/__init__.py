"""Images in: files and arrays become RGB, RGB becomes pixel values, and long lines of text are cut. Home of Pillow."""

from vedcore.vision.augment import Augmentation
from vedcore.vision.cutting import CutPiece, CutRule, cut_line
from vedcore.vision.images import ImageSource, load_image
from vedcore.vision.pictures import as_png
from vedcore.vision.processor import ImageProcessor

__all__ = ["Augmentation", "CutPiece", "CutRule", "ImageProcessor", "ImageSource", "as_png", "cut_line", "load_image"]
