"""Configs: attrs classes, one strict cattrs converter, and the config.json files of transformers.

``@model_config("vit")`` makes a class of annotated fields the config of an architecture: keyword-only, each value checked
when the config is built and when it is assigned. ``@settings`` does the same for what is not an architecture, ``@strict``
for a file that nobody else writes. The base ``Config`` reads and writes JSON.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, dataclass_transform, get_args, get_origin

import attrs
from cattrs import Converter, ForbiddenExtraKeysError, transform_error
from cattrs.gen import make_dict_structure_fn, make_mapping_structure_fn

from vedcore.errors import ConfigError
from vedcore.files import read_json

Size = int | tuple[int, int]
"""One number of pixels for both sides, or (height, width)."""

TokenIds = int | tuple[int, ...] | None
"""A token id, several, or none."""

Heads = dict[int, tuple[int, ...]]
"""Attention heads, by the number of their layer."""

MAX_LAYERS = 4096
"""More layers than any model has: a config that asks for more is damaged."""

MAX_HEADS = 4096
"""More heads than any attention has."""

MAX_WIDTH = 2**17
"""A wider state than any model has."""

C = TypeVar("C")


class Config:
    """What every config has beside its own fields."""

    __slots__ = ()

    model_type: ClassVar[str]
    extra: dict[str, Any]
    """Fields of a published file on which nothing here depends: kept, and written back."""
    pruned_heads: Heads
    """Of an architecture: the heads of self-attention that were taken away."""
    pruned_cross_heads: Heads
    """Of an architecture: those of cross-attention."""

    def to_dict(self) -> dict[str, Any]:
        """The config as it stands in its JSON file."""
        return to_dict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "config") -> Self:
        """The config that ``data`` describes; fields that the class does not know are kept in ``extra``.

        Raises ConfigError: each wrong field, what it must be and what was found; ``where`` stands in front.
        """
        return from_dict(cls, data, where)

    def replace(self, **fields: Any) -> Self:
        """A copy with these fields set, each checked; TypeError for a name that is no field."""
        changed = copy.copy(self)
        known = {attribute.name for attribute in attrs.fields(type(self))}  # type: ignore[arg-type]
        for name, value in {"extra": dict(self.extra), **fields}.items():
            if name not in known:
                raise TypeError(f"{type(self).__name__} has no field {name!r}")
            setattr(changed, name, value)
        return changed

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> Self:
        """The config of the config.json in ``folder``."""
        path = Path(folder) / "config.json"
        return cls.from_dict(read_json(path), str(path))


# Fields. Each returns an attrs field whose values are checked; None passes where the default is None.


def integer(default: int | None, *, at_least: int = 1, at_most: int | None = None) -> Any:
    """An int field, refused below ``at_least`` and above ``at_most``; True is not an int."""
    return _field(default, _is_within(at_least, at_most), f"an int {_bounds(at_least, at_most)}")


def layers(default: int) -> Any:
    """An int field that counts layers: a config.json that wants a billion is refused before any of them is built."""
    return integer(default, at_most=MAX_LAYERS)


def heads(default: int) -> Any:
    """An int field that counts the heads of an attention, refused like ``layers`` before any of them is."""
    return integer(default, at_most=MAX_HEADS)


def width(default: int) -> Any:
    """An int field of the numbers in a state: of a billion, the vectors alone would fill a memory before a matrix fails."""
    return integer(default, at_most=MAX_WIDTH)


def _is_within(at_least: int, at_most: int | None) -> Callable[[Any], bool]:
    return lambda v: type(v) is int and v >= at_least and (at_most is None or v <= at_most)


def _bounds(at_least: float, at_most: float | None) -> str:
    return f"of at least {at_least}" if at_most is None else f"from {at_least} to {at_most}"


def number(
    default: float | None,
    *,
    above: float = float("-inf"),
    at_least: float = float("-inf"),
    at_most: float = float("inf"),
) -> Any:
    """A finite float field, either ``above < value <= at_most`` or ``at_least <= value <= at_most``; an int is taken as the
    float that it equals.
    """
    most = at_most if at_most < float("inf") else None
    if at_least > float("-inf"):
        wanted = f"a finite number {_bounds(at_least, most)}"
    else:
        wanted = "a finite number" + (f" above {above}" if above > float("-inf") else "")
        wanted += "" if most is None else f", at most {most}"

    def check(value: Any) -> bool:
        is_finite = type(value) is float and abs(value) < float("inf")
        return is_finite and above < value and at_least <= value <= at_most

    return _field(default, check, wanted, converter=as_float)


def rate(default: float) -> Any:
    """A float field from 0 to 1: a dropout probability."""
    return _field(default, lambda v: type(v) is float and 0 <= v <= 1, "a number from 0 to 1", converter=as_float)


def flag(default: bool | None) -> Any:
    """A bool field."""
    return _field(default, lambda v: type(v) is bool, "true or false")


def text(default: str | None, *, one_of: Collection[str] = ()) -> Any:
    """A str field, one of the given names if any are given."""
    wanted = f"one of {', '.join(sorted(one_of))}" if one_of else "a string"
    return _field(default, lambda v: type(v) is str and (not one_of or v in one_of), wanted)


def integers(default: tuple[int, ...] | None, *, at_least: int = 1, at_most: int | None = None) -> Any:
    """A field of several ints (a JSON list)."""
    is_within = _is_within(at_least, at_most)

    def check(value: Any) -> bool:
        return isinstance(value, tuple) and all(map(is_within, value))

    return _field(default, check, f"a list of ints {_bounds(at_least, at_most)}", converter=as_tuple)


def size(default: Size) -> Any:
    """A field of pixels: one int for both sides or (height, width), each at least 1."""

    def check(value: Any) -> bool:
        sides = value if isinstance(value, tuple) else (value, value)
        return len(sides) == 2 and all(type(side) is int and side >= 1 for side in sides)

    return _field(default, check, "an int of at least 1, or a pair (height, width) of them", converter=as_tuple)


def token_ids(default: TokenIds = None) -> Any:
    """A field of a token id, several, or none, whatever the default."""

    def check(value: Any) -> bool:
        ids = value if isinstance(value, tuple) else (value,)
        return value is None or (bool(ids) and all(type(token) is int and token >= 0 for token in ids))

    return _field(default, check, "a token id (an int of at least 0), a list of them, or none", converter=as_tuple)


def _heads() -> Any:
    """A field of attention heads by layer; JSON has the layers as text."""

    def check(value: Any) -> bool:
        entries = value.items() if isinstance(value, dict) else ((None, None),)
        return all(
            isinstance(heads, tuple) and all(type(number) is int and number >= 0 for number in (layer, *heads))
            for layer, heads in entries
        )

    return attrs.field(
        factory=dict,
        repr=False,
        converter=_heads_by_layer,
        validator=_checked(check, "lists of heads by layer, each layer once"),
    )


def _heads_by_layer(value: Any) -> Any:
    """Layers as numbers and lists as tuples, layers of which nothing is taken left out; anything else as it is."""
    try:
        found = {_layer(layer): tuple(heads) for layer, heads in value.items()}
    except (AttributeError, TypeError, ValueError):
        return value
    return {layer: heads for layer, heads in found.items() if heads} if len(found) == len(value) else value


def _layer(name: Any) -> Any:
    """The number of a layer that JSON has as text; anything else, "01" too, as it is."""
    return int(name) if isinstance(name, str) and name == str(int(name)) else name


def _field(
    default: Any, accepts: Callable[[Any], bool], wanted: str, converter: Callable[[Any], Any] | None = None
) -> Any:
    validate = _checked(lambda value: (value is None and default is None) or accepts(value), wanted)
    return attrs.field(default=default, validator=validate, converter=converter)


def _checked(accepts: Callable[[Any], bool], wanted: str) -> Callable[[Any, attrs.Attribute[Any], Any], None]:
    def validate(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if not accepts(value):
            raise ConfigError(f"{type(instance).__name__}.{attribute.name} must be {wanted}, got {value!r}")

    return validate


_is_mapping = _checked(lambda value: isinstance(value, dict), "a dict")


def as_float(value: Any) -> Any:
    """An int as the float that it equals; anything else as it is."""
    try:
        return float(value) if type(value) is int else value
    except OverflowError:
        return value


def as_tuple(value: Any) -> Any:
    """A list as a tuple, so that a config can be compared and copied; anything else as it is."""
    return tuple(value) if isinstance(value, list) else value


def id_tuple(ids: TokenIds) -> tuple[int, ...]:
    """The ids of such a field: none, one or several."""
    return () if ids is None else ids if isinstance(ids, tuple) else (ids,)


def pair(size: Size) -> tuple[int, int]:
    """(height, width) of a size that may be one number for both."""
    return (size, size) if isinstance(size, int) else size


# Classes.

_PRUNED = ("pruned_heads", "pruned_cross_heads")


@dataclass_transform(kw_only_default=True, field_specifiers=(attrs.field,))
def model_config(model_type: str) -> Callable[[type[C]], type[C]]:
    """Make a class of annotated fields the config of the architecture ``model_type``."""

    def decorate(cls: type[C]) -> type[C]:
        cls.model_type = model_type  # type: ignore[attr-defined]
        for name in _PRUNED:
            cls.__annotations__ = {**cls.__annotations__, name: Heads}
            setattr(cls, name, _heads())
        return settings(cls)

    return decorate


@dataclass_transform(kw_only_default=True, field_specifiers=(attrs.field,))
def settings(cls: type[C]) -> type[C]:
    """Make a class of annotated fields a group of checked settings that keeps unknown fields in ``extra``."""
    cls.__annotations__ = {**cls.__annotations__, "extra": dict[str, Any]}
    cls.extra = attrs.field(factory=dict, repr=False, validator=_is_mapping)  # type: ignore[attr-defined]
    return attrs.define(kw_only=True)(cls)


converter = Converter()
"""The one converter: exact types (``"false"`` is not a bool, 12.9 is not an int), only int for float is let through."""


def _exact(value: Any, kind: Any) -> Any:
    value = as_float(value) if kind is float else value
    if type(value) is not kind:
        raise ConfigError(f"expected {kind.__name__}, got {value!r}")
    return value


def _as_it_is(value: Any, _: Any) -> Any:
    return as_tuple(value)


def _formed(form: Any, wanted: str, structure: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """``structure`` for what has the ``form``: a string would pass for a list of its letters, a table for its names."""

    def checked(value: Any, kind: Any) -> Any:
        if not isinstance(value, form):
            raise ConfigError(f"expected {wanted}, got {value!r}")
        return structure(value, kind)

    return checked


def _dict_hook(kind: Any) -> Callable[[Any, Any], Any]:
    return _formed(Mapping, "a table", make_mapping_structure_fn(kind, converter))


def _tuple_hook(kind: Any) -> Callable[[Any, Any], Any]:
    item = get_args(kind)[0]
    several: Any = list[item]  # type: ignore[valid-type]
    wanted = "a list of tables" if attrs.has(item) else "a list"
    return _formed((list, tuple), wanted, lambda value, _: tuple(converter.structure(value, several)))


def _is_dict(kind: Any) -> bool:
    return isinstance(get_origin(kind), type) and issubclass(get_origin(kind), dict)


def _is_several(kind: Any) -> bool:
    return get_args(kind)[1:] == (...,)


for _kind in (bool, int, float, str):
    converter.register_structure_hook(_kind, _exact)
converter.register_structure_hook_factory(_is_dict, _dict_hook)
converter.register_structure_hook_factory(_is_several, _tuple_hook)
# The fields' own checks say what these unions may hold.
for _union in (Size, TokenIds, Size | None, int | float | None, tuple[int, ...] | None):
    converter.register_structure_hook(_union, _as_it_is)
converter.register_structure_hook_func(lambda kind: kind in (tuple[int, ...], Heads), _as_it_is)
converter.register_structure_hook_func(
    lambda kind: kind == dict[str, Any], _formed(Mapping, "a table", lambda value, _: dict(value))
)


@dataclass_transform(kw_only_default=True, field_specifiers=(attrs.field,))
def strict(cls: type[C]) -> type[C]:
    """Make a class of annotated fields a group of checked settings in which an unknown field is an error."""
    made = attrs.define(kw_only=True)(cls)
    structure = make_dict_structure_fn(made, converter, _cattrs_forbid_extra_keys=True)
    converter.register_structure_hook(made, _formed(Mapping, "a table of fields", structure))
    return made


def from_dict(cls: type[C], data: Mapping[str, Any], where: str = "config") -> C:
    """The config that ``data`` describes. Fields that the class does not know are kept in ``extra``, if it has that.

    Raises ConfigError: each wrong field, what it must be and what was found; ``where`` stands in front.
    """
    if not isinstance(data, Mapping):
        raise ConfigError(f"{where}: expected a table of fields, got {data!r}")
    model_type = getattr(cls, "model_type", None)
    if model_type is not None and data.get("model_type", model_type) != model_type:
        raise ConfigError(f"{where}: model_type is {data['model_type']!r}, but {cls.__name__} is for {model_type!r}")
    names = {attribute.name for attribute in attrs.fields(cls)}  # type: ignore[arg-type]
    if "extra" in names:
        known = names - {"extra"}
        extra = {name: value for name, value in data.items() if name not in known and name != "model_type"}
        data = {**{name: value for name, value in data.items() if name in known}, "extra": extra}
    try:
        return converter.structure(data, cls)
    except Exception as cause:
        raise ConfigError(f"{where}: {'; '.join(_lines(cause, cls.__name__))}") from cause


def _lines(cause: Exception, name: str) -> list[str]:
    def told(error: BaseException, _: Any) -> str:
        if isinstance(error, ForbiddenExtraKeysError):
            return "; ".join(_unknown(field, error.cl) for field in sorted(error.extra_fields))
        if isinstance(error, KeyError):  # cattrs looks each field without a default up
            return "the field is missing and has no default"
        return str(error) or type(error).__name__

    lines = transform_error(cause, format_exception=told)
    return [line.replace(" @ $.", f" in {name}.").replace(" @ $", "") for line in lines]


def _unknown(field: str, cls: Any) -> str:
    names = [attribute.name for attribute in attrs.fields(cls)]
    near = get_close_matches(field, names, n=1)
    advice = f"did you mean {near[0]!r}?" if near else f"its fields are {', '.join(names)}"
    return f"{cls.__name__} has no field {field!r}; {advice}"


def to_dict(config: Any) -> dict[str, Any]:
    """The config as it stands in config.json: its fields, the unknown ones too, and its model_type."""
    data = {a.name: _plain(getattr(config, a.name)) for a in attrs.fields(type(config)) if a.name != "extra"}
    data = {name: value for name, value in data.items() if value or name not in _PRUNED}
    model_type = getattr(type(config), "model_type", None)
    return {**config.extra, **data, **({} if model_type is None else {"model_type": model_type})}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
