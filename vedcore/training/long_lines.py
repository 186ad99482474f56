"""The samples of a run: data sets are split into lines to learn from and held-out lines, then long lines are cut into pieces.

Lines are cut once, before the first step. The folder of the run stores the cuts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator

from vedcore.errors import TrainingError
from vedcore.reader import Reader
from vedcore.training.cutting import LineCutter, cut_rule_of
from vedcore.training.data.pieces import Cut, Pieces
from vedcore.training.data.problem import Problem
from vedcore.training.data.sample import Dataset
from vedcore.training.datasets import cut_data, split_data
from vedcore.training.kept import kept_name, split_kept
from vedcore.training.piece_file import read_cuts, write_cuts
from vedcore.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class RunData:
    """The samples of a run. Those to learn from, and ``held_out_pieces``, fit the reader: a long line is several samples.

    learn: by the name of the data set. kept: what a run keeps reading, None if it keeps nothing.
    held_out, held_out_kept: whole lines, which an evaluation reads. held_out_pieces: the first, for the loss.
    cut_lines, pieces: how many lines are cut, and into how many pieces. problems: the lines left out, when a run starts.
    """

    learn: dict[str, Dataset]
    kept: Dataset | None
    held_out: Dataset | None
    held_out_pieces: Dataset | None
    held_out_kept: Dataset | None
    cut_lines: int
    pieces: int
    problems: list[Problem]


def prepare_data(
    recipe: Recipe,
    datasets: Mapping[str, Dataset],
    usable: dict[str, Dataset],
    reader: Reader,
    run: Path,
    accelerator: Accelerator,
    *,
    is_resumed: bool,
) -> RunData:
    """Split the ``usable`` parts of ``datasets``, and cut the long lines of all but the held-out lines that are read.

    A run that starts stores the cuts in its folder; a resumed one takes them from there, since its reader has changed.
    Raises CheckpointError if they are missing or damaged, and TrainingError if all lines of a data set are left out.
    """
    split, held_out = split_data(recipe, usable)
    kept, held_out_kept = split_kept(recipe, usable)
    # By the use of the lines and the name of their data set.
    samples = {("learn", stage.data): split[stage.data] for stage in recipe.stages}
    if kept is not None and recipe.keep is not None:
        samples["keep", kept_name(recipe.keep)] = kept
    held_out_from = recipe.evaluation.data or recipe.stages[0].data
    if held_out is not None:
        samples["hold out", held_out_from] = held_out
    rule, are_cut = cut_rule_of(reader), cut_data(datasets, reader)
    chosen = {f"{use}: {name}": lines for (use, name), lines in samples.items() if name in are_cut}
    problems: list[Problem] = []
    lines, pieces = 0, 0
    cuts: dict[str, dict[int, Cut]] = {}
    if rule is not None and chosen:
        if accelerator.is_main_process and not is_resumed:
            cutter = LineCutter(reader, rule, accelerator.device)
            found = {key: cutter.cut(dataset) for key, dataset in chosen.items()}
            problems = [problem for cut in found.values() for problem in cut.problems]
            write_cuts(run, {key: cut.cuts for key, cut in found.items()})
        accelerator.wait_for_everyone()
        cuts = read_cuts(run, {key: len(dataset) for key, dataset in chosen.items()})
        counts = [len(cut.texts) for found_cuts in cuts.values() for cut in found_cuts.values() if cut.texts]
        lines, pieces = len(counts), sum(counts)
    if rule is not None:
        for (use, name), dataset in samples.items():
            fitting = Pieces(dataset, rule, cuts.get(f"{use}: {name}", {}))
            samples[use, name] = _usable(fitting, use, name, problems)
    return RunData(
        learn={name: dataset for (use, name), dataset in samples.items() if use == "learn"},
        kept=next((dataset for (use, _), dataset in samples.items() if use == "keep"), None),
        held_out=held_out,
        held_out_pieces=samples.get(("hold out", held_out_from)),
        held_out_kept=held_out_kept,
        cut_lines=lines,
        pieces=pieces,
        problems=problems,
    )


def _usable(pieces: Pieces, use: str, name: str, problems: list[Problem]) -> Pieces:
    if not len(pieces) and use != "hold out":
        first = f"; the first problem is {problems[0]}" if problems else ""
        raise TrainingError(
            f"data set {name!r}: none of its lines can be cut into pieces with their texts{first}",
            field=f"data.{name}",
            found=problems,
        )
    return pieces
