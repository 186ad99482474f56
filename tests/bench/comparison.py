"""Compare the ratios of two states of the code, each measured in one or more runs."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from tests.bench.models import TRANSFORMERS
from tests.bench.results import Result, read_runs

FALL = 0.10
"""A ratio that falls by more than this share is reported: smaller changes are noise."""

Key = tuple[str, str, str, str]
"""Part, case, library and measure."""


def compare(before: Path, after: Path) -> bool:
    """Print the cases whose median ratio fell by more than 10 %, and those that ``after`` does not hold.

    Returns whether there are none. ``vedcore`` is compared with ``vedcore``, the prepared model.
    """
    runs_before, runs_after = read_runs(before), read_runs(after)
    old, new = median_ratios(runs_before), median_ratios(runs_after)
    counts = f"{len(runs_before)} before and {len(runs_after)} after"
    missing = [key for key in old if key not in new]
    common = [key for key in old if key in new]
    fallen = [key for key in common if new[key] < old[key] * (1 - FALL)]
    for key in fallen:
        print(f"{name(key):70}{old[key]:8.2f} -> {new[key]:6.2f}  ({new[key] / old[key] - 1:+.0%})")
    for key in missing:
        print(f"{name(key):70}{old[key]:8.2f} -> not measured")
    print(
        f"{len(fallen)} of {len(common)} ratios fell by more than {FALL:.0%}, {len(missing)} are missing. Runs: {counts}."
    )
    return not fallen and not missing


def median_ratios(runs: Sequence[Sequence[Result]]) -> dict[Key, float]:
    """The median over the runs of each ratio."""
    ratios: dict[Key, list[float]] = defaultdict(list)
    for result in (result for run in runs for result in run):
        for library in result.values:
            if library != TRANSFORMERS:
                for measure, ratio in result.ratios(library).items():
                    ratios[result.part, result.case, library, measure].append(ratio)
    return {key: statistics.median(values) for key, values in ratios.items()}


def name(key: Key) -> str:
    """A key as people read it."""
    part, case, library, measure = key
    return f"{part}: {case} ({library}), {measure}"
