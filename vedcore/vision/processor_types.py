"""The types of image processors that are supported, and the defaults of each."""

from __future__ import annotations

from typing import Any

from vedcore.errors import ConfigError, PluginError, PluginNotFound
from vedcore.registry import registry


def square(side: int) -> dict[str, int]:
    """The size of a square."""
    return {"height": side, "width": side}


_VIT: dict[str, Any] = {
    "do_convert_rgb": None,
    "do_resize": True,
    "size": square(224),
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
_PAGE = _VIT | {"do_align_long_axis": False, "do_thumbnail": True, "do_pad": True}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "ViTImageProcessor": _VIT,
    "DeiTImageProcessor": _VIT | {"resample": 3, "size": square(256), "crop_size": square(224), "do_center_crop": True},
    "BeitImageProcessor": _VIT | {"resample": 3, "crop_size": square(224), "do_center_crop": False},
    "DonutImageProcessor": _PAGE | {"size": {"height": 2560, "width": 1920}},
    "NougatImageProcessor": _PAGE
    | {
        "size": {"height": 896, "width": 672},
        "image_mean": (0.485, 0.456, 0.406),
        "image_std": (0.229, 0.224, 0.225),
        "do_crop_margin": True,
    },
}

FIELD_NAMES = tuple(_VIT)
"""The fields of every type, beside ``image_processor_type``."""


def defaults(processor_type: Any) -> dict[str, Any]:
    """The value of each field that a file of this type leaves out. Raises ConfigError for an unsupported type."""
    if isinstance(processor_type, str):
        if processor_type in _DEFAULTS:
            return _DEFAULTS[processor_type]
        try:
            return _defaults_of_plugin(processor_type)
        except PluginNotFound as error:
            _, _, advice = str(error).partition(". ")
    else:
        advice = ""
    supported = ", ".join([*_DEFAULTS, *registry().image_processor_names()])
    raise ConfigError(
        f"image_processor_type {processor_type!r} is not supported; supported: {supported}{advice and f'. {advice}'}",
        field="image_processor_type",
        expected=supported,
        found=processor_type,
    )


def _defaults_of_plugin(processor_type: str) -> dict[str, Any]:
    """The defaults of a type that a plugin supplies. Raises PluginNotFound or PluginError."""
    given = dict(registry().image_processor(processor_type).defaults)
    if unknown := sorted(set(given) - set(_VIT)):
        raise PluginError(
            f"the plugin of image processor {processor_type!r} has defaults for {', '.join(unknown)}, but an image processor "
            f"has no such fields; they are {', '.join(_VIT)}",
            field=unknown[0],
            expected=FIELD_NAMES,
            found=unknown,
        )
    return _VIT | given


def current_name(value: Any) -> Any:
    """The current name of a type: without the suffix of a backend, and not that of an old feature extractor."""
    if not isinstance(value, str):
        return value
    return value.removesuffix("Fast").removesuffix("Pil").replace("FeatureExtractor", "ImageProcessor")
