"""The axes and curves of a report."""

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedcore.training.axis import step_axis, value_axis
from vedcore.training.chart import MAX_POINTS, Curve, Mark, chart, thinned

POSITIVE = st.floats(1e-12, 1e12)


def is_round(number: float) -> bool:
    """Whether a number is 1, 2 or 5 times a power of ten."""
    return re.fullmatch(r"[125](\.0+)?e.*", f"{number:.9e}") is not None


@given(st.lists(st.floats(-1e9, 1e9).filter(lambda value: value == 0 or abs(value) > 1e-9), min_size=1))
def test_a_linear_axis_contains_0_and_all_values_and_has_ticks_at_round_distances(values):
    axis = value_axis(values, may_be_logarithmic=False)
    assert axis.ticks[0] == axis.low <= min(0.0, *values)
    assert axis.ticks[-1] == axis.high >= max(0.0, *values)
    assert 3 <= len(axis.ticks) <= 12
    distances = [after - before for before, after in pairwise(axis.ticks)]
    assert distances == pytest.approx([distances[0]] * len(distances))
    assert is_round(distances[0])
    assert all(f"{tick:.9g}" == f"{float(f'{tick:.4g}'):.9g}" for tick in axis.ticks)  # few digits


@given(low=POSITIVE, factor=st.floats(10.1, 1e9))
def test_an_axis_of_more_than_a_decade_is_logarithmic_with_round_ticks(low, factor):
    axis = value_axis([low, low * factor])
    assert axis.logarithmic
    assert axis.low <= low * (1 + 1e-9)
    assert axis.high >= low * factor * (1 - 1e-9)
    assert (axis.place(axis.low), axis.place(axis.high)) == (0, pytest.approx(1))
    assert axis.place(10 * low) - axis.place(low) == pytest.approx(
        axis.place(low * factor) - axis.place(low * factor / 10)
    )
    assert 2 <= len(axis.ticks) <= 12
    assert all(is_round(tick) and axis.low <= tick <= axis.high for tick in axis.ticks)


@given(st.lists(st.floats(1, 9.9), min_size=1))
def test_an_axis_of_less_than_a_decade_is_linear(values):
    assert not value_axis(values).logarithmic
    assert not value_axis([*values, -100.0]).logarithmic


def test_a_logarithmic_axis_has_an_end_for_zero():
    axis = value_axis([50.0, 3.0, 0.0])
    assert axis.logarithmic
    assert (axis.place(0.0), axis.low) == (0, 0.1)
    assert ">0%<" in chart("errors", [Curve("", [(0, 50.0), (10, 3.0), (20, 0.0)])], unit="%")


@given(st.integers(0, 10**9))
def test_steps_have_ticks_at_whole_round_numbers(last):
    axis = step_axis(last)
    assert axis.ticks[0] == 0
    assert all(tick == int(tick) <= max(last, 1) for tick in axis.ticks)
    assert len(axis.ticks) >= min(last, 4)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=900))
def test_a_curve_keeps_its_mean_and_its_last_step(values):
    points = list(enumerate(values))
    found = thinned(points)
    assert len(found) <= MAX_POINTS
    assert found[-1][0] == points[-1][0]
    if len(points) <= MAX_POINTS:
        assert found == points


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 10**7), st.floats(0, 1e6)), min_size=1, max_size=20), min_size=1, max_size=3
    )
)
def test_a_chart_is_svg_and_its_curves_stay_inside(curves):
    page = chart("a < b", [Curve(f"<{at}>", sorted(points), dots=True) for at, points in enumerate(curves)])
    tree = ElementTree.fromstring(page)
    for svg in tree.findall("svg"):
        _, _, width, height = map(float, svg.get("viewBox").split())
        for line in svg.iter("polyline"):
            places = [tuple(map(float, place.split(","))) for place in line.get("points").split()]
            assert all(0 <= x <= width and 0 <= y <= height for x, y in places)
    assert len(tree.findall("svg")) == 2  # for a wide and a narrow page


def test_a_mark_is_a_circle_with_its_note():
    page = chart("errors", [Curve("", [(0, 9.0), (5, 3.0)])], marks=[Mark(5, 3.0, "best: 3", below=True)])
    assert page.count(">best: 3<") == page.count('class="mark"') == 2


def test_small_numbers_have_an_exponent():
    page = chart("rate", [Curve("", [(0, 0.0), (5, 3e-4)])], may_be_logarithmic=False)
    assert re.findall(r">([0-9.e-]+)</text>", page)[:4] == ["0", "5e-5", "1e-4", "1.5e-4"]
