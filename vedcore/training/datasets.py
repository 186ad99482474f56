"""The data sets of a run: opened by name, checked, and split into training and held-out lines."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from vedcore.errors import ConfigError, TrainingError
from vedcore.reader import Reader
from vedcore.training.build import build_reader
from vedcore.training.data.check import check_samples
from vedcore.training.data.label_encoder import LabelEncoder
from vedcore.training.data.problem import Problem, counted
from vedcore.training.data.sample import Dataset
from vedcore.training.data.sampler import LARGEST_SHUFFLE, sample_order
from vedcore.training.data.stored import STORED, open_stored
from vedcore.training.data.subset import Subset, UsableSubset
from vedcore.training.data.validated import ValidatedDataset
from vedcore.training.kept import kept_name, open_lines_file
from vedcore.training.recipe import TRAIN, Recipe

CHECKED_SAMPLES = 200
"""The number of samples that are checked before a run if the data set is not a folder: it may be generated, and endless."""

_HELD_OUT_SEED = 2**32 - 1


def open_data(recipe: Recipe, data: Dataset | str | os.PathLike[str] | None, beside: Path) -> dict[str, Dataset]:
    """The data sets of a run by name. ``data`` is the one named "train"; ``beside`` is the folder of the recipe.

    Raises ConfigError for a name without a data set, for an empty data set, and for whatever a source raises.
    """
    opened: dict[str, Dataset] = {name: source.open(beside) for name, source in recipe.data.items()}
    if data is not None:
        found = open_stored(data) if isinstance(data, str | os.PathLike) else data
        opened[TRAIN] = found if isinstance(found, STORED) else ValidatedDataset(found, f"data set {TRAIN!r}")
    used = {stage.data for stage in recipe.stages} | {recipe.evaluation.data or recipe.stages[0].data}
    if recipe.keep is not None:
        used.add(kept_name(recipe.keep))
        if recipe.keep.data is None:
            opened[kept_name(recipe.keep)] = open_lines_file(recipe)
    for name in sorted(used):
        if name not in opened:
            hint = "pass DATA, a folder or a zip of labelled images" if name == TRAIN else f"add [data.{name}]"
            raise ConfigError(
                f"no data set {name!r} (the data sets are: {', '.join(opened) or 'none'}); {hint}",
                field=f"data.{name}",
                found=list(opened),
            )
        if not len(opened[name]) and not getattr(opened[name], "problems", ()):
            raise ConfigError(
                f"data set {name!r} is empty", field=f"data.{name}", expected="at least 1 sample", found=0
            )
    return {name: opened[name] for name in sorted(used)}


def check_data(recipe: Recipe, datasets: Mapping[str, Dataset]) -> dict[str, list[Problem]]:
    """The problems of each data set with the recipe's model: of all samples of a folder, of the first 200 of any other."""
    reader = build_reader(recipe.model, recipe.seed)
    return {name: problems for name, (problems, _) in _checked(datasets, reader).items()}


def _checked(datasets: Mapping[str, Dataset], reader: Reader) -> dict[str, tuple[list[Problem], list[int]]]:
    encode_label = LabelEncoder.for_reader(reader)
    return {
        name: check_samples(dataset, encode_label, limit=None if isinstance(dataset, STORED) else CHECKED_SAMPLES)
        for name, dataset in datasets.items()
    }


def usable_data(
    datasets: Mapping[str, Dataset], reader: Reader, skip_bad: bool
) -> tuple[dict[str, Dataset], list[Problem]]:
    """The data sets without the samples that cannot be used, and the problems of those.

    Raises TrainingError if there are problems and not ``skip_bad``, or if no sample of a data set can be used.
    """
    checked = _checked(datasets, reader)
    problems = [problem for found, _ in checked.values() for problem in found]
    if problems and not skip_bad:
        shown = "\n  ".join(map(str, problems[:10]))
        more = f"\n  and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise TrainingError(
            f"{counted(len(problems), 'sample')} cannot be used:\n  {shown}{more}\n"
            "correct them (vedcore train --check lists all), or leave them out with --skip-bad (skip_bad=True)",
            found=problems,
        )
    usable: dict[str, Dataset] = {}
    for name, (found, good) in checked.items():
        dataset = datasets[name]
        if not good:
            raise TrainingError(
                f"data set {name!r}: none of its samples can be used; the first problem is {found[0]}",
                field=f"data.{name}",
                found=found,
            )
        usable[name] = Subset(dataset, good) if isinstance(dataset, STORED) and len(good) < len(dataset) else dataset
    return usable, problems


def split_data(recipe: Recipe, datasets: dict[str, Dataset]) -> tuple[dict[str, Dataset], Dataset | None]:
    """The data sets to learn from, and the held-out lines, which are in none of them unless the recipe says so."""
    lines, name = recipe.evaluation.lines, recipe.evaluation.data
    if not lines:
        return datasets, None
    if name is not None:
        dataset = datasets[name]
        lines = min(lines, len(dataset))
        return datasets, UsableSubset(
            Subset(dataset, sample_order(len(dataset), (recipe.seed, _HELD_OUT_SEED), 0, lines))
        )
    name = recipe.stages[0].data
    dataset = datasets[name]
    length = len(dataset)
    lines = min(lines, length // 10)
    if not lines:
        raise ConfigError(
            f"data set {name!r} has {counted(length, 'sample')}, too few to hold out a tenth; set evaluation.data, or "
            "evaluation.lines = 0",
            field="evaluation.data",
            found=length,
        )
    indices = (
        range(length) if length > LARGEST_SHUFFLE else sample_order(length, (recipe.seed, _HELD_OUT_SEED), 0, length)
    )
    return {**datasets, name: Subset(dataset, indices[lines:])}, UsableSubset(Subset(dataset, indices[:lines]))
