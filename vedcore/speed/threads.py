"""How many threads compute a product: a number that the caller names, or the one that a short measurement finds best.

torch has one number of threads for the whole process, so both change the speed of everything else that the process computes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from vedcore.errors import ConfigError

MOST_THREADS = 1024
"""More threads than any machine uses. The process would end with an error of the thread library instead of ours."""

_ROWS, _WIDTH, _INNER = 16, 256, 1024  # one step of a batch of lines through the MLP of a small decoder
_SHORT, _LONG = 0.001, 0.01  # seconds of a burst: without and with other threads to wait for
_CLEARLY = 0.8  # of the time with one thread; a smaller gain may be chance, and costs the time of the other cores


def set_threads(threads: Any) -> None:
    """Let torch compute with this number of threads, in the whole process. Raises ConfigError if it is not 1 to 1024."""
    if type(threads) is not int or not 1 <= threads <= MOST_THREADS:
        expected = f"an int from 1 to {MOST_THREADS}"
        raise ConfigError(
            f"threads must be {expected}, got {threads!r}", field="threads", expected=expected, found=threads
        )
    torch.set_num_threads(threads)


def choose_threads(threads: int | None = None) -> int:
    """Set the number of threads for a command, and return it.

    threads: the user's choice; None: ``usual_threads``. Raises ConfigError as ``set_threads``.
    """
    threads = usual_threads() if threads is None else threads
    set_threads(threads)
    return threads


def usual_threads() -> int:
    """The number that the environment variable OMP_NUM_THREADS names, or else the one that a measurement finds best."""
    named, _, _ = os.environ.get("OMP_NUM_THREADS", "").partition(",")  # a list has a number for each level of nesting
    return int(named) if named.isdecimal() and int(named) > 0 else measured_threads()


def measured_threads(seconds: Callable[[int, float], float] | None = None) -> int:
    """The number of threads for the products of a small model on this machine as busy as it is now. Nothing is changed.

    Tries the number that torch uses, then half of it, and so on, and returns the first that is clearly faster than one thread,
    or 1. Takes about 15 ms, and on a busy machine up to 50 ms for each number that it tries.
    seconds: measures the mean time of a product, from a number of threads and the seconds to spend; by default that of
    two products with 16 rows and weights of 256 x 1024.

    On a busy machine each product waits for the thread that the scheduler serves last. The products of a text generated
    token by token are small and wait most: two threads can take a hundred times as long as one.
    """
    seconds = _seconds if seconds is None else seconds
    before = torch.get_num_threads()
    try:
        # The best of three is the time without a disturbance. Of several threads the mean counts, which includes the waiting.
        alone = min(seconds(1, _SHORT) for _ in range(3))
        number = before
        while number > 1 and seconds(number, _LONG) > _CLEARLY * alone:
            number //= 2
        return number
    finally:
        torch.set_num_threads(before)


def _seconds(threads: int, burst: float) -> float:
    torch.set_num_threads(threads)
    x, up, down = torch.ones(_ROWS, _WIDTH), torch.ones(_INNER, _WIDTH), torch.ones(_WIDTH, _INNER)
    with torch.inference_mode():
        F.linear(F.linear(x, up), down)  # starts the threads
        started, count = time.perf_counter(), 0
        while not count or time.perf_counter() < started + burst:
            F.linear(F.linear(x, up), down)
            count += 1
        return (time.perf_counter() - started) / count
