"""The number of threads of a run: chosen at its start and stored, because it changes the last bits of the results."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from vedcore.speed.threads import usual_threads
from vedcore.storage.files import read_json
from vedcore.training.recipe import Recipe


def threads_of_run(recipe: Recipe, started: Path | None) -> int:
    """The number of threads for a run.

    It is the recipe's number. Without one, a resumed run takes the number in ``started``, its recipe.json, and a new run the
    usual number. Warns if a resumed run gets another number.
    """
    stored = None if started is None else stored_threads(started)
    if recipe.threads is not None:
        if stored not in (None, recipe.threads):
            warnings.warn(
                f"the run was started with {stored} threads and continues with {recipe.threads}; the results may differ in "
                "the last bits from those of an uninterrupted run",
                stacklevel=2,
            )
        return recipe.threads
    return usual_threads() if stored is None else stored


@contextmanager
def thread_count(number: int) -> Iterator[None]:
    """Compute with ``number`` threads in this context."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def stored_threads(path: Path) -> int | None:
    """The number in the recipe.json of a run; None in a run from before the number was stored."""
    recipe = read_json(path).get("recipe")
    threads = recipe.get("threads") if isinstance(recipe, dict) else None
    return threads if type(threads) is int and threads > 0 else None
