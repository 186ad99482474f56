"""Images become pixel values as preprocessor_config.json says: resize, crop or pad, rescale, normalise.

B images, H x W pixels of an image, h x w of what a model gets. Values equal those of the Pillow backend of transformers,
with these differences: every mode of image is made RGB (transformers raises where ``do_convert_rgb`` is not set), the
EXIF orientation is applied, floats are rounded to 8 bits and not truncated, and the result is always float32.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from vedcore import config
from vedcore.config import settings
from vedcore.contract.types import Batch
from vedcore.errors import CheckpointNotFound, ConfigError, ImageError, foreign
from vedcore.storage.files import read_json, staged, write_json
from vedcore.storage.hub import resolve
from vedcore.vision.images import MAX_PIXELS, ImageSource, load_image

_OWN_FILE = "preprocessor_config.json"
_SHARED_FILE = "processor_config.json"  # of an image processor and a tokenizer, the former under "image_processor"

_Sides = dict[str, int]
_Channels = tuple[float, ...]
if TYPE_CHECKING:
    # What a field takes is more than what it reads as, and only a descriptor can say that to a type checker.
    class _SizeField:
        def __get__(self, processor: Any, kind: Any) -> _Sides | None: ...
        def __set__(self, processor: Any, value: int | Sequence[int] | Mapping[str, int] | None) -> None: ...

    class _ChannelField:
        def __get__(self, processor: Any, kind: Any) -> _Channels | None: ...
        def __set__(self, processor: Any, value: float | Sequence[float] | None) -> None: ...
else:
    _SizeField, _ChannelField = _Sides | None, _Channels | None

_FORMS = ({"height", "width"}, {"shortest_edge"}, {"shortest_edge", "longest_edge"})


def _square(side: int) -> _Sides:
    return {"height": side, "width": side}


_SHARED: dict[str, Any] = {
    "do_convert_rgb": None,
    "do_resize": True,
    "size": _square(224),
    "resample": 2,
    "do_center_crop": None,
    "crop_size": None,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": (0.5, 0.5, 0.5),
    "image_std": (0.5, 0.5, 0.5),
    "do_align_long_axis": None,
    "do_thumbnail": None,
    "do_pad": None,
    "do_crop_margin": None,
}
_PAGE = _SHARED | {"do_align_long_axis": False, "do_thumbnail": True, "do_pad": True}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "ViTImageProcessor": _SHARED,
    "DeiTImageProcessor": _SHARED
    | {"resample": 3, "size": _square(256), "crop_size": _square(224), "do_center_crop": True},
    "BeitImageProcessor": _SHARED | {"resample": 3, "crop_size": _square(224), "do_center_crop": False},
    "DonutImageProcessor": _PAGE | {"size": {"height": 2560, "width": 1920}},
    "NougatImageProcessor": _PAGE
    | {
        "size": {"height": 896, "width": 672},
        "image_mean": (0.485, 0.456, 0.406),
        "image_std": (0.229, 0.224, 0.225),
        "do_crop_margin": True,
    },
}
"""What a file that is silent on a field means, by image_processor_type; a type that is not here is not read."""


def _defaults(kind: Any) -> dict[str, Any]:
    if not isinstance(kind, str) or kind not in _DEFAULTS:
        raise ConfigError(f"image_processor_type {kind!r} is not supported; supported: {', '.join(_DEFAULTS)}")
    return _DEFAULTS[kind]


def _as_type(value: Any) -> Any:
    """The one name of a type: no suffix for a backend, and the name of today for an old feature extractor."""
    if not isinstance(value, str):
        return value
    return value.removesuffix("Fast").removesuffix("Pil").replace("FeatureExtractor", "ImageProcessor")


def _as_size(name: str, value: Any) -> _Sides | None:
    if value is None:
        return None
    if type(value) is int:
        value = _square(value)
    elif isinstance(value, (list, tuple)) and len(value) == 2:
        value = {"height": value[0], "width": value[1]}
    # Older files name every key of a size and leave those that do not apply null.
    given = {k: v for k, v in value.items() if v is not None} if isinstance(value, Mapping) else {}
    if set(given) not in _FORMS or not all(type(side) is int and side >= 1 for side in given.values()):
        raise ConfigError(
            f"{name} must be an int, [height, width], height and width, or shortest_edge with or without "
            f"longest_edge, of ints of at least 1, got {value!r}"
        )
    return given


def _sized(kind: Any, value: Any) -> Any:
    """The size with a list put as [height, width]; the files of Donut write [width, height]."""
    is_list = isinstance(value, (list, tuple)) and len(value) == 2
    return value[::-1] if is_list and kind == "DonutImageProcessor" else value


def _size_setting(value: Any, processor: Any) -> _Sides | None:
    return _as_size("size", _sized(processor.image_processor_type, value))


def _as_crop(value: Any) -> _Sides | None:
    sides = _as_size("crop_size", value)
    if sides is not None and "height" not in sides:
        raise ConfigError(f"crop_size must have height and width, got {value!r}")
    return sides


def _as_channels(name: str, value: Any) -> tuple[float, ...] | None:
    if value is None:
        return None
    numbers = tuple(value) if isinstance(value, (list, tuple)) else (value,) * 3
    if len(numbers) != 3 or not all(type(n) in (int, float) and abs(n) < float("inf") for n in numbers):
        raise ConfigError(f"{name} must be a finite number or three of them, got {value!r}")
    if name == "image_std" and not all(n > 0 for n in numbers):
        raise ConfigError(f"{name} must be above 0, got {value!r}")
    return tuple(float(n) for n in numbers)


def _as_resample(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 5:
        raise ConfigError(
            "resample must be 0 (nearest), 1 (lanczos), 2 (bilinear), 3 (bicubic), 4 (box) or 5 (hamming), "
            f"got {value!r}"
        )
    return int(value)  # an enum of Pillow is written as its number


def _as_factor(value: Any) -> float | None:
    if value is None:
        return None
    if type(value) not in (int, float) or not abs(value) < float("inf"):
        raise ConfigError(f"rescale_factor must be a finite number, got {value!r}")
    return float(value)


def _as_flag(name: str, value: Any) -> bool | None:
    if value is not None and type(value) is not bool:
        raise ConfigError(f"{name} must be true, false or null, got {value!r}")
    return value


_READ: dict[str, Any] = {
    "size": partial(_as_size, "size"),
    "crop_size": _as_crop,
    "image_mean": partial(_as_channels, "image_mean"),
    "image_std": partial(_as_channels, "image_std"),
    "resample": _as_resample,
    "rescale_factor": _as_factor,
    **{name: partial(_as_flag, name) for name in _SHARED if name.startswith("do_")},
}


def _setting(name: str) -> Any:
    """A field whose default is that of the type. None is a value like others: it switches the default off."""

    def default(processor: Any) -> Any:
        value = _defaults(processor.image_processor_type)[name]
        return dict(value) if isinstance(value, dict) else value

    read = attrs.Converter(_size_setting, takes_self=True) if name == "size" else _READ[name]
    return attrs.field(default=attrs.Factory(default, takes_self=True), converter=read)


def _check_type(instance: Any, attribute: Any, value: Any) -> None:
    _defaults(value)


@settings
class ImageProcessor:
    """Images -> pixel values (B, 3, h, w), by the fields of a preprocessor_config.json.

    Raises ConfigError for a field that cannot be used, when it is given and when it is assigned.
    """

    image_processor_type: str = attrs.field(default="ViTImageProcessor", converter=_as_type, validator=_check_type)
    do_convert_rgb: bool | None = _setting("do_convert_rgb")
    do_resize: bool | None = _setting("do_resize")
    size: _SizeField = _setting("size")
    resample: int | None = _setting("resample")
    do_center_crop: bool | None = _setting("do_center_crop")
    crop_size: _SizeField = _setting("crop_size")
    do_rescale: bool | None = _setting("do_rescale")
    rescale_factor: float | None = _setting("rescale_factor")
    do_normalize: bool | None = _setting("do_normalize")
    image_mean: _ChannelField = _setting("image_mean")
    image_std: _ChannelField = _setting("image_std")
    do_align_long_axis: bool | None = _setting("do_align_long_axis")
    do_thumbnail: bool | None = _setting("do_thumbnail")
    do_pad: bool | None = _setting("do_pad")
    do_crop_margin: bool | None = _setting("do_crop_margin")

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "image processor") -> ImageProcessor:
        """The processor that ``data`` describes, in any form that such a file has had. Raises ConfigError."""
        fields = dict(data)
        old = fields.pop("feature_extractor_type", None)
        kind = fields.get("image_processor_type")
        kind = _as_type("ViTImageProcessor" if kind is None and old is None else old if kind is None else kind)
        try:
            _defaults(kind)
            if "size" in fields:
                fields["size"] = _sized(kind, fields["size"])
            fields.update({name: read(fields[name]) for name, read in _READ.items() if name in fields})
        except ConfigError as cause:
            raise ConfigError(f"{where}: {cause}") from cause
        processor: ImageProcessor = config.from_dict(cls, {**fields, "image_processor_type": kind}, where)
        return processor

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str], *, revision: str | None = None) -> ImageProcessor:
        """The processor of a folder or a hub id: that in processor_config.json, else that of preprocessor_config.json.

        Raises CheckpointNotFound or ConfigError.
        """
        folder = resolve(name, revision=revision, weights=False)
        shared, own = folder / _SHARED_FILE, folder / _OWN_FILE
        if shared.is_file() and "image_processor" in (data := read_json(shared)):
            if not isinstance(data["image_processor"], dict):
                raise ConfigError(f"{shared}: image_processor must be an object, got {data['image_processor']!r}")
            return cls.from_dict(data["image_processor"], f"{shared}: image_processor")
        if not own.is_file():
            raise CheckpointNotFound(f"{folder}: no image processor, neither {_OWN_FILE} nor {_SHARED_FILE} with one")
        return cls.from_dict(read_json(own), str(own))

    def to_dict(self) -> dict[str, Any]:
        """The processor as it stands in preprocessor_config.json; a null that is the default is not written."""
        unsaid = {name for name, value in _defaults(self.image_processor_type).items() if value is None}
        data = config.to_dict(self)
        return {name: value for name, value in data.items() if not (value is None and name in unsaid)}

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write preprocessor_config.json into ``folder``. Raises SaveError, with the folder as it was."""
        shared = Path(folder) / _SHARED_FILE
        whole = read_json(shared) if shared.is_file() else {}
        with staged(folder) as stage:
            write_json(stage / _OWN_FILE, self.to_dict())
            if "image_processor" in whole:  # readers look there first, so it must not go stale
                write_json(stage / _SHARED_FILE, whole | {"image_processor": self.to_dict()})

    @property
    def output_size(self) -> tuple[int, int] | None:
        """(h, w) of every result, or None where it depends on the image."""
        steps = _steps(self.image_processor_type)
        sized = self.do_pad if _padded in steps else self.do_resize
        fixed = self.crop_size if self.do_center_crop and _cropped in steps else self.size if sized else None
        return (fixed["height"], fixed["width"]) if fixed and "height" in fixed else None

    def __call__(
        self,
        images: ImageSource | Sequence[ImageSource],
        *,
        return_tensors: Literal["pt", "np"] = "pt",
    ) -> Batch:
        """One image or B of them (or an array (B, ...)) -> a Batch of pixel_values (B, 3, h, w) float32.

        Raises ImageError (an image that cannot be read, results of unequal size) or ConfigError.
        """
        if return_tensors not in ("pt", "np"):
            raise ConfigError(f"return_tensors must be 'pt' or 'np', got {return_tensors!r}")
        several = isinstance(images, (list, tuple)) or getattr(images, "ndim", 0) == 4
        sources: list[Any] = list(images) if several else [images]  # type: ignore[arg-type]
        if not sources:
            raise ImageError("expected at least one image, found an empty list")
        values = self._values()
        results = []
        for index, source in enumerate(sources):
            try:
                pixels = self._pixels(load_image(source))
            except ImageError as cause:
                raise (ImageError(f"images[{index}]: {cause}") if several else cause) from cause
            results.append(np.stack([values[channel][pixels[..., channel]] for channel in range(3)]))
        sizes = sorted({result.shape[1:] for result in results})
        if len(sizes) > 1:
            raise ImageError(
                f"images of one call must come out equal in size, found {', '.join(f'{h} x {w}' for h, w in sizes)} "
                "(height x width); give each alone, or set size to height and width"
            )
        stacked = np.stack(results)
        return Batch(pixel_values=torch.from_numpy(stacked) if return_tensors == "pt" else stacked)

    def _pixels(self, image: Image.Image) -> NDArray[np.uint8]:
        """An RGB image -> (h, w, 3) uint8 after every step of the type."""
        for step in _steps(self.image_processor_type):
            image = step(self, image)
        return np.asarray(image)

    def _values(self) -> NDArray[np.float32]:
        """(3, 256): what each of the 256 levels becomes, a channel each; 256 sums and not one a pixel."""
        levels = np.arange(256, dtype=np.float64)
        if self.do_rescale:
            levels = levels * self._needed("rescale_factor", "do_rescale")
        values = np.tile(levels.astype(np.float32), (3, 1))
        if self.do_normalize:
            mean = np.array(self._needed("image_mean", "do_normalize"), np.float32)
            std = np.array(self._needed("image_std", "do_normalize"), np.float32)
            values = (values - mean[:, None]) / std[:, None]
        return values

    def _needed(self, name: str, by: str) -> Any:
        value = getattr(self, name)
        if value is None:
            raise ConfigError(f"image processor: {by} is set, but {name} is null")
        return value


# The steps: an RGB image in, an RGB image out. What is switched off returns what it got.


def _resized(processor: ImageProcessor, image: Image.Image) -> Image.Image:
    if not processor.do_resize:
        return image
    size = processor._needed("size", "do_resize")
    if "height" in size:
        height, width = size["height"], size["width"]
    else:
        height, width = _keep_shape(image.height, image.width, size["shortest_edge"], size.get("longest_edge"))
    return _scaled(image, height, width, processor.resample)


def _cropped(processor: ImageProcessor, image: Image.Image) -> Image.Image:
    if not processor.do_center_crop:
        return image
    size = processor._needed("crop_size", "do_center_crop")
    return Image.fromarray(_centre(np.asarray(image), _bounded(size["height"], size["width"])))


def _without_margin(processor: ImageProcessor, image: Image.Image) -> Image.Image:
    """Cut to the box around what is darker than 200 of 255, after the grey levels are stretched."""
    if not processor.do_crop_margin:
        return image
    grey = np.asarray(image.convert("L"))
    darkest, lightest = grey.min(), grey.max()
    if darkest == lightest:
        return image
    dark = (grey - darkest) / (lightest - darkest) * 255 < 200
    rows, columns = np.flatnonzero(dark.any(1)), np.flatnonzero(dark.any(0))
    return image.crop((int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1))


def _aligned(processor: ImageProcessor, image: Image.Image) -> Image.Image:
    """Turned by 90 degrees, clockwise, where its long side is not that of the page."""
    if not processor.do_align_long_axis:
        return image
    height, width = _page(processor, "do_align_long_axis")
    turned = (width - height) * (image.width - image.height) < 0
    return image.transpose(Image.Transpose.ROTATE_270) if turned else image


def _resized_to_page(processor: ImageProcessor, image: Image.Image) -> Image.Image:
    if not processor.do_resize:
        return image
    shortest = min(_page(processor, "do_resize"))
    return _scaled(image, *_keep_shape(image.height, image.width, shortest, None), processor.resample)


def _donut_thumbnail(processor: ImageProcessor, image: Image.Image) -> Image.Image:
    # transformers takes filter 0, nearest, for one that is not set.
    return _thumbnail(processor, image, processor.resample or Image.Resampling.BICUBIC, None)


def _nougat_thumbnail(processor: ImageProcessor, image: Image.Image) -> Image.Image:
    return _thumbnail(processor, image, Image.Resampling.BICUBIC, 2.0)


def _thumbnail(processor: ImageProcessor, image: Image.Image, resample: int, gap: float | None) -> Image.Image:
    """Shrunk until it fits the page, in its shape but for a square one, whose sides are cut each for itself."""
    if not processor.do_thumbnail:
        return image
    page = _page(processor, "do_thumbnail")
    height, width = min(image.height, page[0]), min(image.width, page[1])
    if (height, width) == (image.height, image.width):
        return image
    if image.height > image.width:
        width = int(image.width * height / image.height)
    elif image.width > image.height:
        height = int(image.height * width / image.width)
    return _scaled(image, height, width, resample, gap)


def _padded(processor: ImageProcessor, image: Image.Image) -> Image.Image:
    """In the middle of a black page, the odd pixel behind it."""
    if not processor.do_pad:
        return image
    height, width = _page(processor, "do_pad")
    if image.height > height or image.width > width:
        raise ImageError(
            f"an image of {image.height} x {image.width} does not fit the page of {height} x {width} (height x width); "
            "set do_thumbnail and do_resize"
        )
    with foreign(ImageError, f"padding to {height} x {width}"):
        page = Image.new("RGB", (width, height))
        page.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return page


def _page(processor: ImageProcessor, by: str) -> tuple[int, int]:
    size = processor._needed("size", by)
    if "height" not in size:
        raise ConfigError(f"{processor.image_processor_type}: size must have height and width, got {size!r}")
    return _bounded(size["height"], size["width"])


def _scaled(image: Image.Image, height: int, width: int, resample: int | None, gap: float | None = None) -> Image.Image:
    height, width = _bounded(height, width)
    with foreign(ImageError, f"resizing to {height} x {width}"):
        filter_ = Image.Resampling(2 if resample is None else resample)
        return image.resize((width, height), filter_, reducing_gap=gap)


_Step = Callable[[ImageProcessor, Image.Image], Image.Image]
_STEPS: dict[str, tuple[_Step, ...]] = {
    "DonutImageProcessor": (_aligned, _resized_to_page, _donut_thumbnail, _padded, _cropped),
    "NougatImageProcessor": (_without_margin, _aligned, _resized_to_page, _nougat_thumbnail, _padded),
}


def _steps(kind: str) -> tuple[_Step, ...]:
    return _STEPS.get(kind, (_resized, _cropped))


def _bounded(height: int, width: int) -> tuple[int, int]:
    """The same size, unless it is one that a few bytes of a file or an odd shape must not ask for."""
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise ImageError(f"the result would be {height} x {width}, outside 1 to {MAX_PIXELS} pixels")
    return height, width


def _keep_shape(height: int, width: int, shortest: int, longest: int | None) -> tuple[int, int]:
    """(height, width) with the shorter side ``shortest``, less where the other would exceed ``longest``.

    Rounded as in transformers: the ratio is taken of the unrounded shorter side, except where that side need not change.
    """
    short, long = min(height, width), max(height, width)
    exact: float = shortest
    if longest is not None and long / short * shortest > longest:
        exact = longest * short / long
        shortest = round(exact)
    new_long = long if longest is not None and short == shortest else int(exact * long / short)
    return (shortest, new_long) if height <= width else (new_long, shortest)


def _centre(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W, 3) -> (h, w, 3) around the centre; a side that is too short is filled with zeros, the odd one in front."""
    result = np.zeros((*size, pixels.shape[2]), pixels.dtype)
    taken, placed = [], []
    for length, wanted in zip(pixels.shape, size, strict=False):
        start = (length - wanted) // 2
        taken.append(slice(max(start, 0), max(start, 0) + min(length, wanted)))
        placed.append(slice(max(-start, 0), max(-start, 0) + min(length, wanted)))
    result[placed[0], placed[1]] = pixels[taken[0], taken[1]]
    return result
