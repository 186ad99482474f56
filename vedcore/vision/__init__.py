"""Images in: files and arrays become RGB images, RGB images become pixel values, long lines of text are cut.

The only package that imports Pillow.
"""

from vedcore.vision.augmentation import Augmentation
from vedcore.vision.content import Content, content_of
from vedcore.vision.cut_rule import CutRule
from vedcore.vision.cutting import CutPiece, cut_line
from vedcore.vision.encoding import as_jpeg
from vedcore.vision.files import open_file, origin_of, read_file
from vedcore.vision.formats import format_of
from vedcore.vision.frames import TiffFrames
from vedcore.vision.image_processor import ImageProcessor
from vedcore.vision.limits import MAX_BYTES, MAX_PIXELS
from vedcore.vision.loading import ImageSource, load_image
from vedcore.vision.origin import Origin
from vedcore.vision.outline import cut_outline
from vedcore.vision.pixels import from_pixels
from vedcore.vision.resolution import image_dpi

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "Augmentation",
    "Content",
    "CutPiece",
    "CutRule",
    "ImageProcessor",
    "ImageSource",
    "Origin",
    "TiffFrames",
    "as_jpeg",
    "content_of",
    "cut_line",
    "cut_outline",
    "format_of",
    "from_pixels",
    "image_dpi",
    "load_image",
    "open_file",
    "origin_of",
    "read_file",
]
