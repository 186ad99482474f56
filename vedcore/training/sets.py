"""The data sets of a run: opened by name, looked at, and some lines set apart to be read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from vedcore.errors import ConfigError, TrainingError
from vedcore.reader import Reader
from vedcore.training.build import build_reader, label_writer
from vedcore.training.data import (
    LARGEST_SHUFFLE,
    Chosen,
    Dataset,
    Folder,
    Given,
    Guarded,
    Problem,
    check,
    counted,
    order,
)
from vedcore.training.recipe import TRAIN, Recipe

CHECKED = 200
"""Samples of a data set that are looked at before a run where it is no folder, but made as it goes."""

_HELD_OUT = 2**32 - 1


def open_data(recipe: Recipe, data: Dataset | str | os.PathLike[str] | None, beside: Path) -> dict[str, Dataset]:
    """The data sets of a run by name.

    Raises ConfigError for one that is named and not there, for one that is empty, and for whatever a source raises.
    """
    opened: dict[str, Dataset] = {name: source.open(beside) for name, source in recipe.data.items()}
    if data is not None:
        found = Folder(os.fspath(data)) if isinstance(data, str | os.PathLike) else data
        opened[TRAIN] = found if isinstance(found, Folder) else Guarded(found, f"data set {TRAIN!r}")
    used = {stage.data for stage in recipe.stages} | {recipe.evaluation.data or recipe.stages[0].data}
    for name in sorted(used):
        if name not in opened:
            hint = "give DATA, a folder of labelled images" if name == TRAIN else f"add [data.{name}]"
            raise ConfigError(f"no data set {name!r} (there are: {', '.join(opened) or 'none'}); {hint}")
        if not len(opened[name]) and not getattr(opened[name], "problems", ()):
            raise ConfigError(f"data set {name!r} is empty")
    return {name: opened[name] for name in sorted(used)}


def check_data(recipe: Recipe, datasets: Mapping[str, Dataset]) -> dict[str, list[Problem]]:
    """What the recipe's model cannot learn of each data set: of all in a folder, of the first 200 samples of any other."""
    reader = build_reader(recipe.model, recipe.seed)
    return {name: problems for name, (problems, _) in _checked(datasets, reader).items()}


def _checked(datasets: Mapping[str, Dataset], reader: Reader) -> dict[str, tuple[list[Problem], list[int]]]:
    write = label_writer(reader)
    return {
        name: check(dataset, write, most=None if isinstance(dataset, Folder) else CHECKED)
        for name, dataset in datasets.items()
    }


def usable_data(
    datasets: Mapping[str, Dataset], reader: Reader, skip_bad: bool
) -> tuple[dict[str, Dataset], list[Problem]]:
    """The data sets without what cannot be used, and what that is. TrainingError unless ``skip_bad``."""
    found = _checked(datasets, reader)
    problems = [problem for several, _ in found.values() for problem in several]
    if problems and not skip_bad:
        shown = "\n  ".join(map(str, problems[:10]))
        more = f"\n  and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise TrainingError(
            f"{counted(len(problems), 'sample')} cannot be learned from:\n  {shown}{more}\n"
            "mend them (vedcore train --check lists all), or leave them out with --skip-bad (skip_bad=True)"
        )
    usable: dict[str, Dataset] = {}
    for name, (several, good) in found.items():
        dataset = datasets[name]
        if not good:
            raise TrainingError(f"data set {name!r}: none of its samples can be used, first {several[0]}")
        usable[name] = Chosen(dataset, good) if isinstance(dataset, Folder) and len(good) < len(dataset) else dataset
    return usable, problems


def split_data(recipe: Recipe, datasets: dict[str, Dataset]) -> tuple[dict[str, Dataset], Dataset | None]:
    """The data sets to learn from, and the lines to evaluate on, which are in none of them."""
    wanted, name = recipe.evaluation.lines, recipe.evaluation.data
    if not wanted:
        return datasets, None
    if name is not None:
        dataset = datasets[name]
        wanted = min(wanted, len(dataset))
        return datasets, Given(Chosen(dataset, order(len(dataset), (recipe.seed, _HELD_OUT), 0, wanted)))
    name = recipe.stages[0].data
    dataset = datasets[name]
    length, apart = len(dataset), min(wanted, len(dataset) // 10)
    if not apart:
        raise ConfigError(
            f"data set {name!r} has {counted(length, 'sample')}, too few to set a tenth apart: name evaluation.data, or set "
            "evaluation.lines = 0"
        )
    indices = range(length) if length > LARGEST_SHUFFLE else order(length, (recipe.seed, _HELD_OUT), 0, length)
    return {**datasets, name: Chosen(dataset, indices[apart:])}, Given(Chosen(dataset, indices[:apart]))
