"""The image processor: images become pixel values as preprocessor_config.json says.

B images, H x W pixels of an image, h x w pixels of a result. The steps are resize, crop or pad, rescale and normalize.
The values equal those of the Pillow backend of transformers, with these differences: images of every mode are converted
to RGB (transformers raises an error unless ``do_convert_rgb`` is set), the EXIF orientation is applied, floats are
rounded to 8 bits instead of truncated, and the result is always float32.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs
import numpy as np
import torch
from numpy.typing import NDArray

from vedcore import config
from vedcore.config import settings
from vedcore.contract.types import Batch
from vedcore.errors import CheckpointNotFound, ConfigError, ImageError
from vedcore.storage.files import read_json, staged, write_json
from vedcore.storage.hub import resolve
from vedcore.vision.loading import ImageSource, load_image
from vedcore.vision.processor_fields import ChannelField, SizeField, convert_fields, processor_field
from vedcore.vision.processor_types import current_name, defaults
from vedcore.vision.steps import crop_center, pad_to_page, required, steps_of

_OWN_FILE = "preprocessor_config.json"
_SHARED_FILE = "processor_config.json"  # of an image processor and a tokenizer, with the former as "image_processor"


def _check_type(instance: Any, attribute: Any, value: Any) -> None:
    defaults(value)


@settings
class ImageProcessor:
    """Images -> pixel values (B, 3, h, w), by the fields of a preprocessor_config.json.

    Raises ConfigError for a field that cannot be used, both when the processor is built and when a field is assigned.
    """

    image_processor_type: str = attrs.field(default="ViTImageProcessor", converter=current_name, validator=_check_type)
    do_convert_rgb: bool | None = processor_field("do_convert_rgb")
    do_resize: bool | None = processor_field("do_resize")
    size: SizeField = processor_field("size")
    resample: int | None = processor_field("resample")
    do_center_crop: bool | None = processor_field("do_center_crop")
    crop_size: SizeField = processor_field("crop_size")
    do_rescale: bool | None = processor_field("do_rescale")
    rescale_factor: float | None = processor_field("rescale_factor")
    do_normalize: bool | None = processor_field("do_normalize")
    image_mean: ChannelField = processor_field("image_mean")
    image_std: ChannelField = processor_field("image_std")
    do_align_long_axis: bool | None = processor_field("do_align_long_axis")
    do_thumbnail: bool | None = processor_field("do_thumbnail")
    do_pad: bool | None = processor_field("do_pad")
    do_crop_margin: bool | None = processor_field("do_crop_margin")

    @classmethod
    def from_dict(
        cls, data: Mapping[str, Any], where: str = "image processor", *, file: str | os.PathLike[str] | None = None
    ) -> ImageProcessor:
        """The processor that ``data`` describes, in any form that such a file has had.

        Raises ConfigError; the message starts with ``where``, and ``file`` is the error's file.
        """
        fields = dict(data)
        old = fields.pop("feature_extractor_type", None)
        names = (fields.get("image_processor_type"), old, "ViTImageProcessor")
        processor_type = current_name(next(name for name in names if name is not None))
        try:
            defaults(processor_type)
            fields = convert_fields(processor_type, fields)
        except ConfigError as error:
            raise ConfigError(
                f"{where}: {error}", file=file, field=error.field, expected=error.expected, found=error.found
            ) from error
        processor: ImageProcessor = config.from_dict(cls, {**fields, "image_processor_type": processor_type}, where)
        return processor

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str], *, revision: str | None = None) -> ImageProcessor:
        """The processor of a folder or a hub id: from processor_config.json, or else from preprocessor_config.json.

        Raises CheckpointNotFound or ConfigError.
        """
        folder = resolve(name, revision=revision, weights=False)
        shared, own = folder / _SHARED_FILE, folder / _OWN_FILE
        if shared.is_file() and "image_processor" in (data := read_json(shared)):
            fields = data["image_processor"]
            if not isinstance(fields, dict):
                raise ConfigError(
                    f"{shared}: image_processor must be an object, got {fields!r}",
                    file=shared,
                    field="image_processor",
                    expected="an object",
                    found=fields,
                )
            return cls.from_dict(fields, f"{shared}: image_processor", file=shared)
        if not own.is_file():
            raise CheckpointNotFound(
                f"{folder}: no image processor, neither {_OWN_FILE} nor {_SHARED_FILE} with one",
                file=folder,
                expected=_OWN_FILE,
            )
        return cls.from_dict(read_json(own), str(own), file=own)

    def to_dict(self) -> dict[str, Any]:
        """The processor as preprocessor_config.json contains it, without null values that are the default."""
        null = {name for name, value in defaults(self.image_processor_type).items() if value is None}
        data = config.to_dict(self)
        return {name: value for name, value in data.items() if not (value is None and name in null)}

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write preprocessor_config.json into ``folder``. Raises SaveError and leaves the folder as it was."""
        shared = Path(folder) / _SHARED_FILE
        whole = read_json(shared) if shared.is_file() else {}
        with staged(folder) as stage:
            write_json(stage / _OWN_FILE, self.to_dict())
            if "image_processor" in whole:  # it is read before the other file, so it must be up to date
                write_json(stage / _SHARED_FILE, whole | {"image_processor": self.to_dict()})

    @property
    def output_size(self) -> tuple[int, int] | None:
        """(h, w) of every result, or None if it depends on the image."""
        steps = steps_of(self.image_processor_type)
        is_sized = self.do_pad if pad_to_page in steps else self.do_resize
        fixed = self.crop_size if self.do_center_crop and crop_center in steps else self.size if is_sized else None
        return (fixed["height"], fixed["width"]) if fixed and "height" in fixed else None

    def __call__(
        self,
        images: ImageSource | Sequence[ImageSource],
        *,
        return_tensors: Literal["pt", "np"] = "pt",
    ) -> Batch:
        """One image or B images (a list, or an array (B, ...)) -> a Batch of pixel_values (B, 3, h, w) float32.

        Raises ImageError (an image cannot be read, or the results have unequal sizes) or ConfigError.
        """
        if return_tensors not in ("pt", "np"):
            raise ConfigError(
                f"return_tensors must be 'pt' or 'np', got {return_tensors!r}",
                field="return_tensors",
                expected="'pt' or 'np'",
                found=return_tensors,
            )
        several = isinstance(images, (list, tuple)) or getattr(images, "ndim", 0) == 4
        sources: list[Any] = list(images) if several else [images]  # type: ignore[arg-type]
        if not sources:
            raise ImageError(
                "expected at least one image, found an empty list", expected="at least one image", found=[]
            )
        values = self._level_values()
        results = []
        for index, source in enumerate(sources):
            try:
                pixels = self._pixels(source)
            except ImageError as error:
                if not several:
                    raise
                raise ImageError(
                    f"images[{index}]: {error}", file=error.file, expected=error.expected, found=error.found
                ) from error
            results.append(np.stack([values[channel][pixels[..., channel]] for channel in range(3)]))
        sizes = sorted({result.shape[1:] for result in results})
        if len(sizes) > 1:
            raise ImageError(
                "the processed images of one call must have equal sizes, found "
                f"{', '.join(f'{h} x {w}' for h, w in sizes)} (height x width); process each image alone, or set size "
                "to height and width",
                expected="equal sizes",
                found=sizes,
            )
        stacked = np.stack(results)
        return Batch(pixel_values=torch.from_numpy(stacked) if return_tensors == "pt" else stacked)

    def _pixels(self, source: ImageSource) -> NDArray[np.uint8]:
        """One image -> (h, w, 3) uint8 after all steps of the type."""
        image = load_image(source)
        for step in steps_of(self.image_processor_type):
            image = step(self, image)
        return np.asarray(image)

    def _level_values(self) -> NDArray[np.float32]:
        """(3, 256): the rescaled and normalized value of each 8-bit level in each channel.

        A table of 256 values per channel is cheaper than rescaling and normalizing every pixel.
        """
        levels = np.arange(256, dtype=np.float64)
        if self.do_rescale:
            levels = levels * required(self, "rescale_factor", "do_rescale")
        values = np.tile(levels.astype(np.float32), (3, 1))
        if self.do_normalize:
            mean = np.array(required(self, "image_mean", "do_normalize"), np.float32)
            std = np.array(required(self, "image_std", "do_normalize"), np.float32)
            values = (values - mean[:, None]) / std[:, None]
        return values
