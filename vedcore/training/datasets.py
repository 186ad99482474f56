"""The data sets of a run: opened by name, checked, and split into training and held-out lines."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vedcore.errors import ConfigError, TrainingError
from vedcore.reader import Reader
from vedcore.training.build import build_reader
from vedcore.training.cutting import LineCutter, cut_rule_of
from vedcore.training.data.check import check_samples
from vedcore.training.data.label_encoder import LabelEncoder
from vedcore.training.data.problem import Problem, counted, unknown_characters
from vedcore.training.data.sample import Dataset
from vedcore.training.data.sampler import LARGEST_SHUFFLE, sample_order
from vedcore.training.data.stored import STORED, open_stored
from vedcore.training.data.subset import Subset, UsableSubset
from vedcore.training.data.validated import ValidatedDataset
from vedcore.training.kept import kept_name, open_lines_file
from vedcore.training.recipe import TRAIN, Recipe

CHECKED_SAMPLES = 200
"""The number of samples that are checked before a run if the data set is not a folder: it may be generated, and endless."""

MOST_CUT = 10_000
"""The number of samples of a data set up to which its long lines are cut if it is not a folder; a folder is always cut."""

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


@dataclass(frozen=True, slots=True)
class DataCheck:
    """What is known about a data set before a run.

    problems: why samples cannot be used. lines: the number of those that can. cut, pieces: how many of these are cut, and into
    how many pieces. not_aligned: the lines that a run leaves out, because their labels cannot be split.
    """

    problems: list[Problem]
    lines: int
    cut: int = 0
    pieces: int = 0
    not_aligned: tuple[Problem, ...] = ()


def check_data(recipe: Recipe, datasets: Mapping[str, Dataset]) -> dict[str, DataCheck]:
    """Check each data set with the recipe's model: all samples of a folder, the first 200 of any other, and all long lines."""
    reader = build_reader(recipe.model, recipe.seed)
    rule, are_cut = cut_rule_of(reader), cut_data(datasets, reader)
    checks = {}
    for name, (problems, good) in _checked(datasets, reader).items():
        dataset = datasets[name]
        usable = Subset(dataset, good) if isinstance(dataset, STORED) else dataset
        unlisted = len(getattr(dataset, "problems", ()))  # those without an index, such as a label without an image
        count = len(dataset) - (len(problems) - unlisted)
        if rule is None or name not in are_cut:
            checks[name] = DataCheck(problems, count)
            continue
        found = LineCutter(reader, rule).cut(usable)
        left_out = tuple(found.problems)
        checks[name] = DataCheck(problems, count - len(left_out), found.lines, found.pieces, left_out)
    return checks


def cut_data(datasets: Mapping[str, Dataset], reader: Reader) -> set[str]:
    """The names of the data sets whose long lines are cut. None are if the reader has no rule for it."""
    if cut_rule_of(reader) is None:
        return set()
    return {name for name, data in datasets.items() if isinstance(data, STORED) or len(data) <= MOST_CUT}


def _checked(datasets: Mapping[str, Dataset], reader: Reader) -> dict[str, tuple[list[Problem], list[int]]]:
    encode_label = LabelEncoder.for_reader(reader)
    encode_long_label = LabelEncoder(encode_label.tokenizer, encode_label.end, max_length=None)
    are_cut = cut_data(datasets, reader)
    return {
        name: check_samples(
            dataset,
            encode_long_label if name in are_cut else encode_label,
            limit=None if isinstance(dataset, STORED) else CHECKED_SAMPLES,
        )
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
        unknown = unknown_characters(problems)
        raise TrainingError(
            f"{counted(len(problems), 'sample')} cannot be used:\n  {shown}{more}\n{unknown}{unknown and chr(10)}"
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
