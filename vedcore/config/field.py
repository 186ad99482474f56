"""Factories for the fields of configs. Each returns an attrs field that checks its values.

None is accepted where the default is None. Import the module rather than its functions, because fields often have the same
names as functions::

    from vedcore.config import field

    hidden_size: int = field.width(768)
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import attrs

from vedcore.errors import ConfigError

Size = int | tuple[int, int]
"""Pixels: one number for both sides, or (height, width)."""

TokenIds = int | tuple[int, ...] | None
"""One token id, several ids, or None."""

Heads = dict[int, tuple[int, ...]]
"""Numbers of attention heads, by the number of their layer."""

MAX_LAYERS = 4096
"""The largest number of layers that a config may have. No model has so many, so a larger number is damage."""

MAX_HEADS = 4096
"""The largest number of heads in a layer that a config may have."""

MAX_WIDTH = 2**17
"""The largest width of hidden states that a config may have."""

OMIT_EMPTY = "omit_empty"
"""The metadata key of fields that are left out of a JSON file while they are empty."""


def integer(default: int | None, *, at_least: int = 1, at_most: int | None = None) -> Any:
    """A field for an int from ``at_least`` to ``at_most``. True is not an int."""
    return _field(default, _is_within(at_least, at_most), f"an int {_bounds(at_least, at_most)}")


def layers(default: int) -> Any:
    """A field for a number of layers, at most ``MAX_LAYERS``: a billion layers are refused before one is built."""
    return integer(default, at_most=MAX_LAYERS)


def heads(default: int) -> Any:
    """A field for the number of heads of an attention layer, at most ``MAX_HEADS``."""
    return integer(default, at_most=MAX_HEADS)


def width(default: int) -> Any:
    """A field for the width of hidden states, at most ``MAX_WIDTH``: larger vectors would fill the memory on their own."""
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
    """A field for a finite float with ``above < value <= at_most`` or ``at_least <= value <= at_most``.

    An int is converted to the float that it equals.
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
    """A field for a float from 0 to 1, such as a dropout probability."""
    return _field(default, lambda v: type(v) is float and 0 <= v <= 1, "a number from 0 to 1", converter=as_float)


def flag(default: bool | None) -> Any:
    """A field for a bool."""
    return _field(default, lambda v: type(v) is bool, "true or false")


def text(default: str | None, *, one_of: Collection[str] = ()) -> Any:
    """A field for a str, which must be in ``one_of`` if that is not empty."""
    wanted = f"one of {', '.join(sorted(one_of))}" if one_of else "a string"
    return _field(default, lambda v: type(v) is str and (not one_of or v in one_of), wanted)


def integers(default: tuple[int, ...] | None, *, at_least: int = 1, at_most: int | None = None) -> Any:
    """A field for a tuple of ints, a list in JSON."""
    is_within = _is_within(at_least, at_most)

    def check(value: Any) -> bool:
        return isinstance(value, tuple) and all(map(is_within, value))

    return _field(default, check, f"a list of ints {_bounds(at_least, at_most)}", converter=as_tuple)


def mapping(default: dict[str, Any] | None, *, check: Callable[[dict[str, Any]], Any] = dict) -> Any:
    """A field for an object of JSON, a dict with strings as keys.

    check: called with each new value; it raises ConfigError for one that is wrong.
    """

    def validate(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        is_dict(instance, attribute, value)
        if isinstance(value, dict):
            try:
                check(value)
            except ConfigError as error:
                path = attribute.name if error.field is None else f"{attribute.name}.{error.field}"
                raise ConfigError(
                    f"{type(instance).__name__}.{attribute.name}: {error}",
                    field=path,
                    expected=error.expected,
                    found=error.found,
                ) from error

    def accepts(value: Any) -> bool:
        return (value is None and default is None) or (
            isinstance(value, dict) and all(type(key) is str for key in value)
        )

    is_dict = _checked(accepts, "a dict with strings as keys")
    return attrs.field(factory=lambda: None if default is None else dict(default), validator=validate)


def size(default: Size) -> Any:
    """A field for a size in pixels: an int for both sides or (height, width), each at least 1."""

    def check(value: Any) -> bool:
        sides = value if isinstance(value, tuple) else (value, value)
        return len(sides) == 2 and all(type(side) is int and side >= 1 for side in sides)

    return _field(default, check, "an int of at least 1, or a pair (height, width) of them", converter=as_tuple)


def token_ids(default: TokenIds = None) -> Any:
    """A field for one token id, several ids or None, which is accepted for any default."""

    def check(value: Any) -> bool:
        ids = value if isinstance(value, tuple) else (value,)
        return value is None or (bool(ids) and all(type(token) is int and token >= 0 for token in ids))

    return _field(default, check, "a token id (an int of at least 0), a list of them, or none", converter=as_tuple)


def head_lists() -> Any:
    """A field for attention heads by layer. In JSON the layers are strings."""

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
        metadata={OMIT_EMPTY: True},
    )


def _heads_by_layer(value: Any) -> Any:
    """Layers as ints and lists as tuples, without empty lists; a value of another form is returned unchanged."""
    try:
        found = {_layer(layer): tuple(heads) for layer, heads in value.items()}
    except (AttributeError, TypeError, ValueError):
        return value
    return {layer: heads for layer, heads in found.items() if heads} if len(found) == len(value) else value


def _layer(name: Any) -> Any:
    """A layer that is a string in JSON as an int; anything else, also "01", is returned unchanged."""
    return int(name) if isinstance(name, str) and name == str(int(name)) else name


def _field(
    default: Any, accepts: Callable[[Any], bool], wanted: str, converter: Callable[[Any], Any] | None = None
) -> Any:
    validate = _checked(lambda value: (value is None and default is None) or accepts(value), wanted)
    return attrs.field(default=default, validator=validate, converter=converter)


def _checked(accepts: Callable[[Any], bool], wanted: str) -> Callable[[Any, attrs.Attribute[Any], Any], None]:
    def validate(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if not accepts(value):
            raise ConfigError(
                f"{type(instance).__name__}.{attribute.name} must be {wanted}, got {value!r}",
                field=attribute.name,
                expected=wanted,
                found=value,
            )

    return validate


is_mapping = _checked(lambda value: isinstance(value, dict), "a dict")


def as_float(value: Any) -> Any:
    """An int as the float that it equals; anything else is returned unchanged."""
    try:
        return float(value) if type(value) is int else value
    except OverflowError:
        return value


def as_tuple(value: Any) -> Any:
    """A list as a tuple, so that a config can be compared and copied; anything else is returned unchanged."""
    return tuple(value) if isinstance(value, list) else value


def id_tuple(ids: TokenIds) -> tuple[int, ...]:
    """The ids in a value of a ``token_ids`` field, as a tuple."""
    return () if ids is None else ids if isinstance(ids, tuple) else (ids,)


def pair(size: Size) -> tuple[int, int]:
    """(height, width) of a value of a ``size`` field."""
    return (size, size) if isinstance(size, int) else size
