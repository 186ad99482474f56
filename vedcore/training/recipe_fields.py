"""Field factories that only recipes need; the general ones are in ``vedcore.config.field``."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import attrs

from vedcore.config import as_float, as_tuple
from vedcore.errors import ConfigError
from vedcore.storage.files import parse_json

Validator = Callable[[Any, "attrs.Attribute[Any]", Any], None]


def beta(default: float) -> Any:
    """A float field from 0 to below 1: the decay of a running mean."""
    validator = _checked(lambda v: type(v) is float and 0 <= v < 1, "a number of at least 0, below 1")
    return attrs.field(default=default, converter=as_float, validator=validator)


def factors() -> Any:
    """A field of learning rate factors by pattern of parameter names."""

    def are_factors(value: Any) -> bool:
        return isinstance(value, dict) and all(type(v) is float and 0 <= v < math.inf for v in value.values())

    return attrs.field(
        factory=dict, validator=_checked(are_factors, "finite numbers of at least 0 by part of the model")
    )


def patterns() -> Any:
    """A field of patterns of parameter names."""

    def are_names(value: Any) -> bool:
        return isinstance(value, tuple) and all(type(pattern) is str for pattern in value)

    return attrs.field(default=(), converter=as_tuple, validator=_checked(are_names, "a list of names of parameters"))


def table() -> Any:
    """A field that is a table of any fields."""
    return attrs.field(factory=dict, validator=_is_json_table)


def name_or_table(contents: str) -> Any:
    """A field that is the name of a checkpoint (folder, shipped checkpoint or hub id), a table of ``contents``, or None."""

    def validate(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value is not None and not isinstance(value, str | dict):
            raise _error(instance, attribute, f"the name of a checkpoint or a table of {contents}", value)
        if isinstance(value, dict):
            _is_json_table(instance, attribute, value)

    return attrs.field(default=None, validator=validate)


def _checked(accepts: Callable[[Any], bool], expected: str) -> Validator:
    def validate(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if not accepts(value):
            raise _error(instance, attribute, expected, value)

    return validate


def _error(instance: Any, attribute: attrs.Attribute[Any], expected: str, value: Any) -> ConfigError:
    return ConfigError(
        f"{_name(instance, attribute)} must be {expected}, got {value!r}",
        field=attribute.name,
        expected=expected,
        found=value,
    )


def _name(instance: Any, attribute: attrs.Attribute[Any]) -> str:
    return f"{type(instance).__name__}.{attribute.name}"


def _is_json_table(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """A table is also written to the recipe.json of a run, so it must not hold dates, NaN or very deep nesting."""
    if not isinstance(value, dict):
        raise _error(instance, attribute, "a table", value)
    for name, item in value.items():
        try:
            parse_json(json.dumps({name: item}).encode(), "it")
        except (ConfigError, TypeError, ValueError, RecursionError) as cause:
            raise ConfigError(
                f"{_name(instance, attribute)}.{name} must be a value that JSON can represent ({cause})",
                field=f"{attribute.name}.{name}",
                expected="a value that JSON can represent",
                found=item,
            ) from cause
