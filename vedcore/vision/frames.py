"""The frames of a TIFF file: each is an image, loaded when it is asked for."""

from __future__ import annotations

import threading
from typing import BinaryIO

from PIL import Image

from vedcore.vision.limits import MAX_PIXELS, check_size
from vedcore.vision.loading import upright_rgb
from vedcore.vision.origin import Origin
from vedcore.vision.tiff import is_picture, open_frame
from vedcore.vision.tiff_directory import MAX_FRAMES, TiffFile


class TiffFrames:
    """The pages of a TIFF file: its frames, without smaller copies (thumbnails, pyramids) and masks after the first frame."""

    def __init__(self, file: BinaryIO, origin: Origin, *, max_frames: int = MAX_FRAMES) -> None:
        """file: stays open, and is read when a frame is loaded.

        Raises ImageError if it is not a TIFF file, has no frame, or more than ``max_frames``.
        """
        self._tiff = TiffFile(file, origin)
        first, *others = self._tiff.frame_positions(max_frames)
        self._positions = [first, *(position for position in others if is_picture(self._tiff, position))]
        self._lock = threading.Lock()  # a frame is many reads of the one file

    def __len__(self) -> int:
        return len(self._positions)

    def load(self, index: int, origin: Origin, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
        """The frame ``index``, from 0, as ``load_image`` returns an image. origin: its name in errors.

        Raises ImageError for a frame that is broken or not supported.
        """
        with self._lock, origin.wrap_errors("cannot be read"):  # the file may be closed, or fail
            tiff = self._tiff.named(origin)
            image = open_frame(tiff, self._positions[index], lambda size: check_size(size, origin, max_pixels))
        return upright_rgb(image, origin, max_pixels)
