"""The fields of configs: each factory returns an attrs field whose values are checked. None passes where the default is None.

Import the module, not its functions, for their names are those of fields too::

    from vedcore.config import field

    hidden_size: int = field.width(768)
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import attrs

from vedcore.errors import ConfigError

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


def head_lists() -> Any:
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


is_mapping = _checked(lambda value: isinstance(value, dict), "a dict")


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
