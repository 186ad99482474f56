"""From JSON to configs and back, through one strict cattrs converter whose errors name each field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, dataclass_transform, get_args, get_origin

import attrs
from cattrs import (
    AttributeValidationNote,
    ClassValidationError,
    Converter,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
    transform_error,
)
from cattrs.gen import make_dict_structure_fn, make_mapping_structure_fn

from vedcore.config.field import OMIT_EMPTY, Heads, Size, TokenIds, as_float, as_tuple
from vedcore.errors import ConfigError, VedcoreError

C = TypeVar("C")

converter = Converter()
"""It wants exact types: ``"false"`` is not a bool and 12.9 is not an int. Only an int for a float is accepted."""


def _exact(value: Any, kind: Any) -> Any:
    value = as_float(value) if kind is float else value
    if type(value) is not kind:
        raise ConfigError(f"expected {kind.__name__}, got {value!r}", expected=kind.__name__, found=value)
    return value


def _unchecked(value: Any, _: Any) -> Any:
    return as_tuple(value)


def _of_form(form: Any, wanted: str, structure: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """``structure``, but only for values of the type ``form``.

    Without the check a string would be taken as the list of its letters, and a table as the list of its keys.
    """

    def checked(value: Any, kind: Any) -> Any:
        if not isinstance(value, form):
            raise ConfigError(f"expected {wanted}, got {value!r}", expected=wanted, found=value)
        return structure(value, kind)

    return checked


def _dict_hook(kind: Any) -> Callable[[Any, Any], Any]:
    return _of_form(Mapping, "a table", make_mapping_structure_fn(kind, converter))


def _tuple_hook(kind: Any) -> Callable[[Any, Any], Any]:
    item = get_args(kind)[0]
    items: Any = list[item]  # type: ignore[valid-type]
    wanted = "a list of tables" if attrs.has(item) else "a list"
    return _of_form((list, tuple), wanted, lambda value, _: tuple(converter.structure(value, items)))


def _is_dict(kind: Any) -> bool:
    return isinstance(get_origin(kind), type) and issubclass(get_origin(kind), dict)


def _is_variable_tuple(kind: Any) -> bool:
    return get_args(kind)[1:] == (...,)


for _kind in (bool, int, float, str):
    converter.register_structure_hook(_kind, _exact)
converter.register_structure_hook_factory(_is_dict, _dict_hook)
converter.register_structure_hook_factory(_is_variable_tuple, _tuple_hook)
# The validators of the fields check what these unions may hold.
for _union in (Size, TokenIds, Size | None, int | float | None, tuple[int, ...] | None):
    converter.register_structure_hook(_union, _unchecked)
converter.register_structure_hook_func(lambda kind: kind in (tuple[int, ...], Heads), _unchecked)
converter.register_structure_hook_func(
    lambda kind: kind == dict[str, Any], _of_form(Mapping, "a table", lambda value, _: dict(value))
)
converter.register_structure_hook(dict[str, Any] | None, _unchecked)


def from_dict(cls: type[C], data: Mapping[str, Any], where: str = "config") -> C:
    """The config of the class ``cls`` with the fields in ``data``. Unknown fields are kept in ``extra``, if ``cls`` has it.

    where: what ``data`` is, a file or an argument; errors start with it.
    Raises ConfigError, which lists each wrong field with the expected and the found value.
    """
    file = where if Path(where).suffix else None
    if not isinstance(data, Mapping):
        raise ConfigError(
            f"{where}: expected a table of fields, got {data!r}", file=file, expected="a table of fields", found=data
        )
    model_type = getattr(cls, "model_type", None)
    if model_type is not None and data.get("model_type", model_type) != model_type:
        raise ConfigError(
            f"{where}: model_type is {data['model_type']!r}, but {cls.__name__} is for {model_type!r}",
            file=file,
            field="model_type",
            expected=model_type,
            found=data["model_type"],
        )
    names = {attribute.name for attribute in attrs.fields(cls)}  # type: ignore[arg-type]
    if "extra" in names:
        known = names - {"extra"}
        extra = {name: value for name, value in data.items() if name not in known and name != "model_type"}
        data = {**{name: value for name, value in data.items() if name in known}, "extra": extra}
    try:
        return converter.structure(data, cls)
    except Exception as cause:
        message = f"{where}: {'; '.join(_lines(cause, cls.__name__))}"
        raise ConfigError(message, file=file, **_first_problem(cause)) from cause


def _lines(cause: Exception, name: str) -> list[str]:
    """A line for each problem in ``cause``, with its field."""

    def text_of(error: BaseException, _: Any) -> str:
        if isinstance(error, ForbiddenExtraKeysError):
            return "; ".join(_unknown(field, error.cl) for field in sorted(error.extra_fields))
        if isinstance(error, KeyError):  # cattrs looks each field without a default up
            return "the field is missing and has no default"
        return str(error) or type(error).__name__

    lines = transform_error(cause, format_exception=text_of)
    return [line.replace(" @ $.", f" in {name}.").replace(" @ $", "") for line in lines]


def _first_problem(cause: BaseException, path: str = "") -> dict[str, Any]:
    """The first problem in ``cause`` as attributes of an error; ``field`` may be a path such as "a.b[1]"."""
    if isinstance(cause, ClassValidationError | IterableValidationError):
        inner = cause.exceptions[0]
        for note in getattr(inner, "__notes__", ()):
            if isinstance(note, AttributeValidationNote):
                path = f"{path}.{note.name}" if path else note.name
            elif isinstance(note, IterableValidationNote):
                path = f"{path}[{note.index}]"
        return _first_problem(inner, path)
    if isinstance(cause, VedcoreError):
        name = ".".join(filter(None, (path, cause.field)))
        return {"field": name or None, "expected": cause.expected, "found": cause.found}
    if isinstance(cause, ForbiddenExtraKeysError):
        path = ".".join(filter(None, (path, min(cause.extra_fields))))
    return {"field": path or None}


def _unknown(field: str, cls: Any) -> str:
    names = [attribute.name for attribute in attrs.fields(cls)]
    near = get_close_matches(field, names, n=1)
    advice = f"did you mean {near[0]!r}?" if near else f"its fields are {', '.join(names)}"
    return f"{cls.__name__} has no field {field!r}; {advice}"


def to_dict(config: Any) -> dict[str, Any]:
    """The content of the config's JSON file: its fields, the unknown ones in ``extra``, and its model_type."""
    fields = [(field, getattr(config, field.name)) for field in attrs.fields(type(config)) if field.name != "extra"]
    data = {field.name: _plain(value) for field, value in fields if value or not field.metadata.get(OMIT_EMPTY)}
    model_type = getattr(type(config), "model_type", None)
    return {**config.extra, **data, **({} if model_type is None else {"model_type": model_type})}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


@dataclass_transform(kw_only_default=True, field_specifiers=(attrs.field,))
def strict(cls: type[C]) -> type[C]:
    """Turn a class of annotated fields into a group of checked settings in which an unknown field is an error."""
    made = attrs.define(kw_only=True)(cls)
    structure = make_dict_structure_fn(made, converter, _cattrs_forbid_extra_keys=True)
    converter.register_structure_hook(made, _of_form(Mapping, "a table of fields", structure))
    return made
