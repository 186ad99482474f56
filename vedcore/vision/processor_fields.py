"""The fields of a preprocessor_config.json: which values each accepts, and the one form in which each is stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from vedcore.errors import ConfigError
from vedcore.vision.processor_types import FIELD_NAMES, defaults, square

Sides = dict[str, int]
"""Either height and width, or shortest_edge with or without longest_edge."""

Channels = tuple[float, ...]
"""One number for each of red, green and blue."""

if TYPE_CHECKING:
    # A field accepts more forms than it returns; only a descriptor can tell that to a type checker.
    class SizeField:
        """Takes an int, a list or a mapping; returns sides."""

        def __get__(self, processor: Any, kind: Any) -> Sides | None: ...
        def __set__(self, processor: Any, value: int | Sequence[int] | Mapping[str, int] | None) -> None: ...

    class ChannelField:
        """Takes one number or three; returns three."""

        def __get__(self, processor: Any, kind: Any) -> Channels | None: ...
        def __set__(self, processor: Any, value: float | Sequence[float] | None) -> None: ...
else:
    SizeField, ChannelField = Sides | None, Channels | None

_SIZE_KEYS = ({"height", "width"}, {"shortest_edge"}, {"shortest_edge", "longest_edge"})


def processor_field(name: str) -> Any:
    """The attrs field ``name``, whose default depends on the type. None is a value: it switches the default off."""

    def default(processor: Any) -> Any:
        value = defaults(processor.image_processor_type)[name]
        return dict(value) if isinstance(value, dict) else value

    converter = attrs.Converter(_convert_size, takes_self=True) if name == "size" else _CONVERTERS[name]
    return attrs.field(default=attrs.Factory(default, takes_self=True), converter=converter)


def convert_fields(processor_type: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a file in the form in which they are stored. Raises ConfigError for a value of the wrong form."""
    converted = dict(fields)
    if "size" in converted:
        converted["size"] = _height_first(processor_type, converted["size"])
    converted.update({name: convert(converted[name]) for name, convert in _CONVERTERS.items() if name in converted})
    return converted


def _error(name: str, expected: str, value: Any) -> ConfigError:
    return ConfigError(f"{name} must be {expected}, got {value!r}", field=name, expected=expected, found=value)


def _convert_size(value: Any, processor: Any) -> Sides | None:
    return _as_sides("size", _height_first(processor.image_processor_type, value))


def _height_first(processor_type: str, value: Any) -> Any:
    """The size with a list as [height, width]; Donut's files write [width, height]."""
    is_list = isinstance(value, (list, tuple)) and len(value) == 2
    return value[::-1] if is_list and processor_type == "DonutImageProcessor" else value


def _as_sides(name: str, value: Any) -> Sides | None:
    if value is None:
        return None
    given = value
    if type(value) is int:
        given = square(value)
    elif isinstance(value, (list, tuple)) and len(value) == 2:
        given = {"height": value[0], "width": value[1]}
    # Older files contain every key of a size, with null for those that do not apply.
    sides = {key: side for key, side in given.items() if side is not None} if isinstance(given, Mapping) else {}
    if set(sides) not in _SIZE_KEYS or not all(type(side) is int and side >= 1 for side in sides.values()):
        raise _error(
            name,
            "an int, [height, width], height and width, or shortest_edge with or without longest_edge, "
            "of ints of at least 1",
            value,
        )
    return sides


def _as_crop_size(value: Any) -> Sides | None:
    sides = _as_sides("crop_size", value)
    if sides is not None and "height" not in sides:
        raise ConfigError(
            f"crop_size must have height and width, got {value!r}",
            field="crop_size",
            expected="height and width",
            found=value,
        )
    return sides


def _as_channels(name: str, value: Any) -> Channels | None:
    if value is None:
        return None
    numbers = tuple(value) if isinstance(value, (list, tuple)) else (value,) * 3
    if len(numbers) != 3 or not all(type(n) in (int, float) and abs(n) < float("inf") for n in numbers):
        raise _error(name, "a finite number or three of them", value)
    if name == "image_std" and not all(n > 0 for n in numbers):
        raise _error(name, "above 0", value)
    return tuple(float(n) for n in numbers)


def _as_resample(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 5:
        raise _error("resample", "0 (nearest), 1 (lanczos), 2 (bilinear), 3 (bicubic), 4 (box) or 5 (hamming)", value)
    return int(value)  # an enum of Pillow is stored as its number


def _as_rescale_factor(value: Any) -> float | None:
    if value is None:
        return None
    if type(value) not in (int, float) or not abs(value) < float("inf"):
        raise _error("rescale_factor", "a finite number", value)
    return float(value)


def _as_flag(name: str, value: Any) -> bool | None:
    if value is not None and type(value) is not bool:
        raise _error(name, "true, false or null", value)
    return value


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "size": partial(_as_sides, "size"),
    "crop_size": _as_crop_size,
    "image_mean": partial(_as_channels, "image_mean"),
    "image_std": partial(_as_channels, "image_std"),
    "resample": _as_resample,
    "rescale_factor": _as_rescale_factor,
    **{name: partial(_as_flag, name) for name in FIELD_NAMES if name.startswith("do_")},
}
