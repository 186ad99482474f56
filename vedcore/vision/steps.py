"""The steps of each type of image processor: an RGB image in, an RGB image out.

A step that is switched off returns its image unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from vedcore.errors import ConfigError, ImageError, foreign
from vedcore.vision.resizing import center_crop, checked_size, resize, size_with_shortest_edge

if TYPE_CHECKING:
    from vedcore.vision.image_processor import ImageProcessor

Step = Callable[["ImageProcessor", Image.Image], Image.Image]


def steps_of(processor_type: str) -> tuple[Step, ...]:
    """The steps of a type, in order."""
    return _STEPS.get(processor_type, (resize_image, crop_center))


def required(processor: ImageProcessor, name: str, needed_by: str) -> Any:
    """The value of the field ``name``. Raises ConfigError if it is null although ``needed_by`` is set."""
    value = getattr(processor, name)
    if value is None:
        raise ConfigError(f"image processor: {needed_by} is set, but {name} is null", field=name, expected="a value")
    return value


def resize_image(processor: ImageProcessor, image: Image.Image) -> Image.Image:
    """To height and width, or by the shortest edge."""
    if not processor.do_resize:
        return image
    size = required(processor, "size", "do_resize")
    if "height" in size:
        height, width = size["height"], size["width"]
    else:
        shortest, longest = size["shortest_edge"], size.get("longest_edge")
        height, width = size_with_shortest_edge(image.height, image.width, shortest, longest)
    return resize(image, height, width, processor.resample)


def crop_center(processor: ImageProcessor, image: Image.Image) -> Image.Image:
    """To crop_size, around the center."""
    if not processor.do_center_crop:
        return image
    size = required(processor, "crop_size", "do_center_crop")
    return center_crop(image, size["height"], size["width"])


def crop_margin(processor: ImageProcessor, image: Image.Image) -> Image.Image:
    """To the box around the pixels darker than 200 of 255, after the grey levels are stretched to the full range."""
    if not processor.do_crop_margin:
        return image
    grey = np.asarray(image.convert("L"))
    darkest, lightest = grey.min(), grey.max()
    if darkest == lightest:
        return image
    dark = (grey - darkest) / (lightest - darkest) * 255 < 200
    rows, columns = np.flatnonzero(dark.any(1)), np.flatnonzero(dark.any(0))
    return image.crop((int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1))


def align_long_axis(processor: ImageProcessor, image: Image.Image) -> Image.Image:
    """Turn the image by 90 degrees clockwise if its long side is not the long side of the page."""
    if not processor.do_align_long_axis:
        return image
    height, width = _page_size(processor, "do_align_long_axis")
    is_across = (width - height) * (image.width - image.height) < 0
    return image.transpose(Image.Transpose.ROTATE_270) if is_across else image


def resize_to_page(processor: ImageProcessor, image: Image.Image) -> Image.Image:
    """Keep the aspect ratio; the shorter side becomes the shorter side of the page."""
    if not processor.do_resize:
        return image
    shortest = min(_page_size(processor, "do_resize"))
    height, width = size_with_shortest_edge(image.height, image.width, shortest, None)
    return resize(image, height, width, processor.resample)


def donut_thumbnail(processor: ImageProcessor, image: Image.Image) -> Image.Image:
    """Shrink the image to fit the page, with the processor's filter."""
    # transformers treats filter 0 (nearest) like one that is not set.
    return _thumbnail(processor, image, processor.resample or Image.Resampling.BICUBIC, None)


def nougat_thumbnail(processor: ImageProcessor, image: Image.Image) -> Image.Image:
    """Shrink the image to fit the page, always with the bicubic filter."""
    return _thumbnail(processor, image, Image.Resampling.BICUBIC, 2.0)


def pad_to_page(processor: ImageProcessor, image: Image.Image) -> Image.Image:
    """Place the image in the middle of a black page; an odd extra pixel is on the right or at the bottom.

    Raises ImageError if the image is larger than the page.
    """
    if not processor.do_pad:
        return image
    height, width = _page_size(processor, "do_pad")
    if image.height > height or image.width > width:
        raise ImageError(
            f"an image of {image.height} x {image.width} does not fit the page of {height} x {width} (height x width); "
            "set do_thumbnail and do_resize",
            expected=(height, width),
            found=(image.height, image.width),
        )
    with foreign(ImageError, f"padding to {height} x {width}"):
        page = Image.new("RGB", (width, height))
        page.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return page


def _thumbnail(processor: ImageProcessor, image: Image.Image, resample: int, reducing_gap: float | None) -> Image.Image:
    """Shrink the image until it fits the page. The aspect ratio is kept, except that of a square image."""
    if not processor.do_thumbnail:
        return image
    page_height, page_width = _page_size(processor, "do_thumbnail")
    height, width = min(image.height, page_height), min(image.width, page_width)
    if (height, width) == (image.height, image.width):
        return image
    if image.height > image.width:
        width = int(image.width * height / image.height)
    elif image.width > image.height:
        height = int(image.height * width / image.width)
    return resize(image, height, width, resample, reducing_gap)


def _page_size(processor: ImageProcessor, needed_by: str) -> tuple[int, int]:
    size = required(processor, "size", needed_by)
    if "height" not in size:
        raise ConfigError(
            f"{processor.image_processor_type}: size must have height and width, got {size!r}",
            field="size",
            expected="height and width",
            found=size,
        )
    return checked_size(size["height"], size["width"])


_STEPS: dict[str, tuple[Step, ...]] = {
    "DonutImageProcessor": (align_long_axis, resize_to_page, donut_thumbnail, pad_to_page, crop_center),
    "NougatImageProcessor": (crop_margin, align_long_axis, resize_to_page, nougat_thumbnail, pad_to_page),
}
