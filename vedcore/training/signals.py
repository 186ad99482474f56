"""Signals that ask a run to stop: Ctrl-C (SIGINT), SIGTERM, and SIGHUP when its terminal closes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """An event that the first signal sets. A second Ctrl-C or SIGTERM has its earlier effect.

    A second SIGHUP has none: a closing terminal sends one and the shell another. Outside of the main thread, where Python
    cannot handle signals, the event stays unset.
    """
    requested = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield requested
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, *_hangup())}

    def request(number: int, frame: Any) -> None:
        requested.set()
        for once in (signal.SIGINT, signal.SIGTERM):
            signal.signal(once, before[once])

    for number in before:
        signal.signal(number, request)
    try:
        yield requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore_signals(_: int) -> None:
    """Initialise a worker process: it receives the signals of the terminal too, but the main process decides when to stop."""
    for number in (signal.SIGINT, signal.SIGTERM, *_hangup()):
        signal.signal(number, signal.SIG_IGN)


def _hangup() -> list[signal.Signals]:
    """SIGHUP, unless the platform has no such signal or ``nohup`` ignores it."""
    found = getattr(signal, "SIGHUP", None)
    return [] if found is None or signal.getsignal(found) is signal.SIG_IGN else [found]
