"""The time for one page, vedcore and Tesseract in turn, both with two threads."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from tests.bench.timing import in_turn
from tests.bench_pages.engines import Tesseract, Vedcore

THREADS = 2
ROUNDS = 5
ABOUT = 3000
"""Characters of the page that is timed."""


def limit_threads() -> None:
    """Use two threads in this process."""
    import torch

    torch.set_num_threads(THREADS)
    try:
        import cv2
    except ImportError:
        return
    cv2.setNumThreads(THREADS)


def speed(page: Path, length: int) -> str:
    """A table of times for a page with this many characters. The programs that are not installed are left out."""
    limit_threads()
    vedcore, tesseract = Vedcore(), Tesseract(THREADS)
    calls: dict[str, Callable[[], object]] = {}
    with tempfile.TemporaryDirectory() as folder:
        blank = Path(folder) / "blank.png"
        Image.new("L", (10, 10), 255).save(blank)
        if not vedcore.missing():
            list(vedcore.read([page]))  # loads the model and fills caches
            calls["vedcore, model loaded"] = lambda: list(vedcore.read([page]))
        if not tesseract.missing():
            calls["Tesseract, the command"] = lambda: list(tesseract.read([page]))
            calls["Tesseract, start only"] = lambda: list(tesseract.read([blank]))
        times = in_turn(calls, ROUNDS)
    if {"Tesseract, the command", "Tesseract, start only"} <= times.keys():
        start = times.pop("Tesseract, start only")
        whole = times["Tesseract, the command"]
        times["Tesseract, without its start"] = [time - statistics.median(start) for time in whole]
    rows = [f"{name:30}{min(own) / 1000:10.2f}{statistics.median(own) / 1000:10.2f}" for name, own in times.items()]
    title = f"Seconds for {page.name}, {length:,} characters, {THREADS} threads, {ROUNDS} rounds in turn"
    return "\n".join([title, f"{'':30}{'best':>10}{'median':>10}", *rows])
