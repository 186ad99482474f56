"""Timing calls in turn, and choosing how often."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

Key = TypeVar("Key", bound=Hashable)

SECONDS = 20.0
"""The time for the rounds of one case."""
MOST = 9
"""The largest number of rounds."""


def milliseconds(call: Callable[[], Any]) -> float:
    """How long one call takes."""
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1000


def in_turn(calls: Mapping[Key, Callable[[], Any]], rounds: int) -> dict[Key, list[float]]:
    """Milliseconds of each call in each round. A round makes every call once, so that a busy moment meets all of them."""
    samples: dict[Key, list[float]] = {key: [] for key in calls}
    for _ in range(rounds):
        for key, call in calls.items():
            samples[key].append(milliseconds(call))
    return samples


def rounds_for(first_round: float) -> int:
    """The number of rounds for a case whose first round took this many milliseconds: at least one."""
    return max(1, min(MOST, int(SECONDS * 1000 / first_round)))
