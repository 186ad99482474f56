"""The one strict cattrs converter: JSON to configs and back, with errors that name each field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar, dataclass_transform, get_args, get_origin

import attrs
from cattrs import Converter, ForbiddenExtraKeysError, transform_error
from cattrs.gen import make_dict_structure_fn, make_mapping_structure_fn

from vedcore.config.field import Heads, Size, TokenIds, as_float, as_tuple
from vedcore.errors import ConfigError

C = TypeVar("C")

PRUNED = ("pruned_heads", "pruned_cross_heads")
"""Fields that stand in a file only where heads were pruned."""

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
    data = {name: value for name, value in data.items() if value or name not in PRUNED}
    model_type = getattr(type(config), "model_type", None)
    return {**config.extra, **data, **({} if model_type is None else {"model_type": model_type})}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


@dataclass_transform(kw_only_default=True, field_specifiers=(attrs.field,))
def strict(cls: type[C]) -> type[C]:
    """Make a class of annotated fields a group of checked settings in which an unknown field is an error."""
    made = attrs.define(kw_only=True)(cls)
    structure = make_dict_structure_fn(made, converter, _cattrs_forbid_extra_keys=True)
    converter.register_structure_hook(made, _formed(Mapping, "a table of fields", structure))
    return made
