"""The lines of ordinary print that a run keeps reading, so that the reader does not forget them.

A checkpoint folder can hold ``lines.zip``: labelled lines like those that its reader was trained with.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from vedcore.errors import CheckpointNotFound, ConfigError
from vedcore.reader import locate
from vedcore.training.data.archive import Archive
from vedcore.training.data.sample import Dataset
from vedcore.training.data.sampler import LARGEST_SHUFFLE, sample_order
from vedcore.training.data.subset import Subset, UsableSubset
from vedcore.training.recipe import KeepSettings, Recipe

LINES_FILE = "lines.zip"

_HELD_OUT_SEED = 2**32 - 3


def kept_name(keep: KeepSettings) -> str:
    """The name of the data set whose lines are kept, among the data sets of the run."""
    return keep.data or LINES_FILE


def open_lines_file(recipe: Recipe) -> Archive:
    """The lines in the checkpoint from which ``recipe`` continues. Raises ConfigError if it has none."""
    path = _lines_file(recipe)
    if path is None:
        raise ConfigError(
            f"the checkpoint {recipe.model.checkpoint} has no {LINES_FILE}, so there are no lines to keep; name lines of "
            f'ordinary print in a recipe: [keep] data = "print", with [data.print]',
            field="keep.data",
            expected=f"a checkpoint with {LINES_FILE}, or the name of a data set",
        )
    return Archive(path)


def copy_lines_file(recipe: Recipe, folder: Path) -> None:
    """Copy the lines of the checkpoint to ``folder``, so that the trained reader can be trained again with them."""
    if (path := _lines_file(recipe)) is not None:
        shutil.copyfile(path, folder / LINES_FILE)


def split_kept(recipe: Recipe, datasets: dict[str, Dataset]) -> tuple[Dataset | None, Dataset | None]:
    """The kept lines to learn from, and those to evaluate on; (None, None) if the run keeps none."""
    if recipe.keep is None:
        return None, None
    data = datasets[kept_name(recipe.keep)]
    length = len(data)
    lines = min(recipe.keep.lines, length // 10)
    order = (
        range(length) if length > LARGEST_SHUFFLE else sample_order(length, (recipe.seed, _HELD_OUT_SEED), 0, length)
    )
    held_out = UsableSubset(Subset(data, order[:lines])) if lines else None
    return Subset(data, order[lines:]), held_out


def _lines_file(recipe: Recipe) -> Path | None:
    if recipe.model.checkpoint is None:
        return None
    try:
        path = locate(recipe.model.checkpoint) / LINES_FILE
    except CheckpointNotFound:  # a resumed run no longer needs the checkpoint from which it started
        return None
    return path if path.is_file() else None
