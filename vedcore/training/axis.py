"""An axis of a chart: its range, linear or logarithmic, and its ticks at round numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_STEPS = (1, 2, 5)
_TICKS = 4  # of a linear axis, at least, unless its numbers are whole and few
_SMALLEST = 1e-290  # the range of an axis whose values are hardly above 0
_RANGE = 1e-12  # of the largest value: a logarithmic axis shows smaller ones as 0
_MANY_DECADES = 2  # with more, a logarithmic axis has ticks at powers of ten only
_MOST_DECADES = 8  # with more, at some of them


@dataclass(frozen=True, slots=True)
class Axis:
    """low, high: the values at the two ends. ticks: round numbers from low to high.

    zero: the low end of a logarithmic axis stands for 0, which has no place on it.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    logarithmic: bool = False
    zero: bool = False

    def place(self, value: float) -> float:
        """Where ``value`` is: 0 at the low end, 1 at the high end."""
        if not self.logarithmic:
            return (value - self.low) / (self.high - self.low)
        return math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)


def value_axis(values: Iterable[float], *, may_be_logarithmic: bool = True) -> Axis:
    """The axis for some values: logarithmic if none is negative and the positive ones span more than a decade, else from 0.

    On a logarithmic axis, values that are too small for its range count as 0.
    """
    values = list(values)
    largest = max(values)
    shown = [value for value in values if value > _RANGE * largest]
    if may_be_logarithmic and min(values) >= 0 and shown and largest > 10 * min(shown):
        return _logarithmic(min(shown), largest, has_zero=len(shown) < len(values))
    return _linear(min(0.0, *values), max(0.0, *values))


def step_axis(last: int) -> Axis:
    """The axis of the steps 0 to ``last``. Its ticks are whole numbers."""
    axis = _linear(0.0, float(last))
    return Axis(
        0.0, float(max(last, 1)), tuple(tick for tick in axis.ticks if tick == int(tick) and tick <= max(last, 1))
    )


def _linear(low: float, high: float) -> Axis:
    span = max(high - low, _SMALLEST) if high > low else 1.0
    exponent = math.floor(math.log10(span / _TICKS))
    mantissa = max(step for step in _STEPS if step == 1 or step * 10.0**exponent <= span / _TICKS)
    distance = mantissa * 10.0**exponent
    first, last = math.floor(low / distance + 1e-9), math.ceil((low + span) / distance - 1e-9)
    ticks = tuple(_round_number(count * mantissa, exponent) for count in range(first, last + 1))
    return Axis(ticks[0], ticks[-1], ticks)


def _logarithmic(low: float, high: float, *, has_zero: bool) -> Axis:
    """From the round number below ``low`` to the one above ``high``; with zeros, from one decade lower."""
    first, last = math.floor(math.log10(low)) - has_zero, math.ceil(math.log10(high))
    numbers = [_round_number(step, decade) for decade in range(first, last + 1) for step in _STEPS]
    start = 0 if has_zero else max((at for at, number in enumerate(numbers) if number <= low), default=0)
    end = next((at for at, number in enumerate(numbers) if number >= high), len(numbers) - 1)
    ticks = numbers[start : end + 1]
    if high > 10.0**_MANY_DECADES * low:
        decades = [_round_number(1, decade) for decade in range(first, last + 1)]
        decades = decades[:: math.ceil(len(decades) / _MOST_DECADES)]
        ticks = [tick for tick in decades if numbers[start] <= tick <= numbers[end]]
    return Axis(numbers[start], numbers[end], tuple(ticks), logarithmic=True, zero=has_zero)


def _round_number(mantissa: int, exponent: int) -> float:
    """The float nearest to mantissa * 10**exponent."""
    return float(f"{mantissa}e{exponent}")
