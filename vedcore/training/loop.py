"""The training loop: steps of the optimiser, with evaluations and checkpoints in between.

A step depends only on the state before it, the seed and the number of the step: its images, their augmentation, its dropout.
Therefore a resumed run continues as if it had never stopped.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import attrs
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from vedcore.errors import TrainingError
from vedcore.model.loss import count_labels
from vedcore.storage.files import staged
from vedcore.storage.tensors import WEIGHT_FILES, listed
from vedcore.training.build import build_reader
from vedcore.training.checkpoints import CheckpointFolder, explain_damage, read_checkpoint
from vedcore.training.data.batches import Minibatch
from vedcore.training.data.problem import Problem
from vedcore.training.data.sample import Dataset
from vedcore.training.datasets import open_data, usable_data
from vedcore.training.devices import make_accelerator
from vedcore.training.evaluation import Score
from vedcore.training.evaluator import Evaluator
from vedcore.training.finite import not_finite, require_finite_weights
from vedcore.training.kept import copy_lines_file
from vedcore.training.learner import Learner
from vedcore.training.loader import stage_loader
from vedcore.training.log import Log, read_log
from vedcore.training.long_lines import prepare_data
from vedcore.training.metrics import ADVICE, StepMetrics
from vedcore.training.progress import ProgressMeter
from vedcore.training.recipe import Recipe, Stage
from vedcore.training.report import REPORT_FILE, write_report
from vedcore.training.result import Ending, EventCallback, Result
from vedcore.training.run_folder import RECIPE_FILE, claim_folder
from vedcore.training.schedule import is_evaluated, learning_rate, with_steps
from vedcore.training.signals import stop_requests
from vedcore.training.state import Position, TrainingState
from vedcore.training.tensorboard import TensorBoardWriter, require_tensorboard
from vedcore.training.threads import stored_threads, thread_count, threads_of_run

T = TypeVar("T")


def train(
    recipe: Recipe,
    out: str | os.PathLike[str],
    data: Dataset | str | os.PathLike[str] | None = None,
    *,
    beside: str | os.PathLike[str] = ".",
    resume: bool = False,
    skip_bad: bool = False,
    watch: EventCallback = lambda event, fields: None,
) -> Result:
    """Train the model of ``recipe``. The folder ``out`` becomes a checkpoint for reading, with a log and a report.

    data: the data set named "train": a folder, or anything with ``len`` and indices.
    beside: the folder to which paths in the recipe are relative.
    resume: continue from the last checkpoint in ``out``.
    skip_bad: leave out samples that cannot be used, and count them.
    watch: is called with the events of the run.

    Ctrl-C, SIGTERM and SIGHUP end the run after the current step, with a checkpoint. A second Ctrl-C or SIGTERM, or one before
    the first step, has its usual effect.

    Raises ConfigError, TrainingError (bad data; a loss or weights that are not finite), CheckpointError (a damaged
    checkpoint) or SaveError (the earlier checkpoints are unchanged).
    """
    folder = Path(out)
    if recipe.tensorboard:
        require_tensorboard()
    datasets = open_data(recipe, data, Path(beside))
    accelerator = make_accelerator(recipe)
    started = folder / RECIPE_FILE
    if accelerator.is_main_process:
        threads = threads_of_run(recipe, started if resume and started.is_file() else None)
        claim_folder(folder, attrs.evolve(recipe, threads=threads), datasets, resume)  # type: ignore[misc]
    accelerator.wait_for_everyone()
    # Every process takes the number that the main process has stored.
    threads = recipe.threads or stored_threads(started) or torch.get_num_threads()
    recipe = attrs.evolve(recipe, threads=threads)  # type: ignore[misc]
    with thread_count(threads), torch.random.fork_rng(devices=[]):
        return TrainingRun(recipe, folder, datasets, accelerator, skip_bad=skip_bad, watch=watch).run()


@dataclass(frozen=True, slots=True)
class _StepTotals:
    """What all processes know before a step: labels and bad samples of its batches, whether to stop, time in the stage."""

    labels: int
    bad: int
    ending: Ending | None
    stage_seconds: float


class TrainingRun:
    """A run in one process, from the last checkpoint of ``folder`` or from the start.

    position: where the run stands. reader: what is trained. learner: its optimiser and losses. data, held_out: the data sets
    to learn from, and the lines to evaluate on. Only the main process evaluates, logs and saves.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        datasets: Mapping[str, Dataset],
        accelerator: Accelerator,
        *,
        skip_bad: bool,
        watch: EventCallback,
    ) -> None:
        self.recipe, self.folder, self.accelerator, self.skip_bad = recipe, folder, accelerator, skip_bad
        self.world, self.is_main = accelerator.num_processes, accelerator.is_main_process
        self.watch: EventCallback = watch if self.is_main else lambda event, fields: None
        self.checkpoints = CheckpointFolder(folder, recipe.checkpoints.keep)
        newest = self.checkpoints.newest()
        checkpoint: tuple[Path, TrainingState] | None = None
        if newest is None:
            self.position, self.reader = Position(), build_reader(recipe.model, recipe.seed)
        else:
            state, self.reader = read_checkpoint(newest)
            checkpoint, self.position = (newest, state), state.position
        usable, self.problems = usable_data(datasets, self.reader, skip_bad)
        data = prepare_data(
            recipe, datasets, usable, self.reader, folder, accelerator, is_resumed=checkpoint is not None
        )
        self.data, self.kept, self.held_out = data.learn, data.kept, data.held_out
        self.problems += data.problems
        if data.cut_lines:
            self.watch("cut", {"lines": data.cut_lines, "pieces": data.pieces})
        self.recipe = recipe = _with_steps(recipe, self.data)
        self.learner = Learner(recipe, self.reader.model, accelerator, checkpoint)
        self.evaluator: Evaluator | None = None
        if data.held_out is not None and self.is_main:
            held_out = data.held_out, data.held_out_kept, data.held_out_pieces
            self.evaluator = Evaluator(recipe, self.reader, self.learner.objective, *held_out)
        self.metrics = StepMetrics(recipe, accelerator, self.checkpoints)
        self.meter = ProgressMeter(recipe)
        self.is_resumed = checkpoint is not None
        self.saved_step: int | None = self.position.step if self.is_resumed else None
        self.score: Score | None = None
        self.evaluated_step: int | None = None
        self.tensorboard: TensorBoardWriter | None = None

    def run(self) -> Result:
        """Train the remaining stages, then evaluate, save and publish the model."""
        self._start_log()
        if not self.is_resumed:
            self._evaluate_start()
        with stop_requests() as stop:
            ended = self._train_stages(stop)
            self._flush_metrics()
            if self.position.step:
                self._check_weights()
                if ended != "interrupted":
                    self._evaluate()
                self._save()
                self._publish(ended)
        return self._result(ended)

    def _start_log(self) -> None:
        if self.is_main:
            self.checkpoints.remove_unfinished()
            self.log = Log(self.folder, self.position.step if self.is_resumed else -1)
            if self.recipe.tensorboard:
                self.tensorboard = TensorBoardWriter(self.folder, self.position.step if self.is_resumed else -1)
            if self.problems and not self.is_resumed:
                self._record_skipped(self.problems)

    def _evaluate_start(self) -> None:
        """Evaluate the reader before training, which a checkpoint keeps: training may not improve it.

        A model with random weights cannot read, so there is nothing to compare with.
        """
        if not self.reader.model.untrained and self._evaluate(is_scheduled=True):
            self._save()

    def _train_stages(self, stop: threading.Event) -> Ending:
        while self.position.stage < len(self.recipe.stages):
            ending = self._train_stage(self.recipe.stages[self.position.stage], stop)
            if ending != "done":
                return ending
            self.position.next_stage()
        return "done"

    def _train_stage(self, stage: Stage, stop: threading.Event) -> Ending:
        """Train the remaining steps of ``stage``."""
        position = self.position
        started = time.monotonic() - position.stage_seconds
        loader = stage_loader(self.recipe, position, self.data[stage.data], self.kept, self.reader, self.accelerator)
        for batches in _chunks(loader, self.recipe.batch.accumulation):
            totals = self._agree(batches, stop, time.monotonic() - started)
            if totals.ending is not None:
                return totals.ending
            position.stage_seconds = totals.stage_seconds
            progress = position.progress_in(stage)
            if progress >= 1:
                return "done"
            self._check_samples(batches, totals)
            lr = learning_rate(stage, position.stage_step, progress)
            result = self.learner.step(batches, totals.labels, lr, position.step)
            self.metrics.add(position, lr, result)
            position.next_step()
            self._finish_step()
        return "done"

    def _finish_step(self) -> None:
        """Log, evaluate and save, if this step is one of those that do."""
        step, recipe = self.position.step, self.recipe
        is_due = is_evaluated(step, recipe.evaluation.every)
        is_saved = step % recipe.checkpoints.every == 0
        is_reported = step % recipe.log == 0
        # Reading the numbers of a step waits for a GPU, but not for a CPU.
        if is_due or is_saved or is_reported or self.accelerator.device.type == "cpu":
            self._flush_metrics()
        if is_reported:
            self.watch("progress", self.meter.fields(self.position, self.learner.lr))
        if is_due or is_saved:
            self._check_weights()
        has_improved = self._evaluate(is_scheduled=True) if is_due else False
        if is_saved or has_improved:
            self._save()

    def _agree(self, batches: list[Minibatch], stop: threading.Event, stage_seconds: float) -> _StepTotals:
        """The totals of the next step, equal in every process: one process stops all, the main process measures the time."""
        local = [
            sum(int(count_labels(batch.labels)) for batch in batches),
            sum(len(batch.problems) for batch in batches),
            int(stop.is_set()),
            int(self.is_main and self.position.is_out_of_patience(self.recipe.evaluation.patience)),
            int(self.meter.is_out_of_time()),
            stage_seconds if self.is_main else 0.0,
        ]
        if self.world > 1:
            tensor = torch.tensor(local, dtype=torch.float64, device=self.accelerator.device)
            local = self.accelerator.reduce(tensor, "sum").tolist()
        labels, bad, interrupted, out_of_patience, out_of_time, seconds = local
        endings: dict[Ending, float] = {"interrupted": interrupted, "patience": out_of_patience, "time": out_of_time}
        ending = next((name for name, is_due in endings.items() if is_due), None)
        return _StepTotals(int(labels), int(bad), ending, seconds)

    def _check_samples(self, batches: list[Minibatch], totals: _StepTotals) -> None:
        """Count the samples of the next step that cannot be used. Raises TrainingError without skip_bad, or if all are bad."""
        problems = [problem for batch in batches for problem in batch.problems]
        if totals.bad and self.world > 1:  # exchange the texts only if there are any
            problems = gather_object(problems)
        step, shown = self.position.step + 1, "; ".join(map(str, problems[:5]))
        if problems and not self.skip_bad:
            raise TrainingError(
                f"step {step}: {shown}; {self.checkpoints.describe_newest()}. Leave such samples out with --skip-bad "
                "(skip_bad=True)",
                found=problems,
            )
        if not totals.labels or not all(len(batch.pixels) for batch in batches):
            raise TrainingError(f"step {step}: no sample of its batch can be used: {shown}", found=problems)
        if problems and self.is_main:
            self._record_skipped(problems)

    def _record_skipped(self, problems: list[Problem]) -> None:
        self.position.skipped += len(problems)
        counts: dict[str, int] = {}
        for problem in problems:
            counts[problem.fault] = counts.get(problem.fault, 0) + 1
        fields = {"step": self.position.step, "counts": counts, "problems": [str(problem) for problem in problems[:50]]}
        self.log.add({"event": "skipped", **fields})
        self.watch("skipped", fields)

    def _flush_metrics(self) -> None:
        """Log the steps since the last flush. Raises TrainingError if a number is not finite."""
        records = self.metrics.flush()
        for record in records:
            self.meter.add(record["loss"])
        if records and self.is_main:
            self._record(*records)

    def _record(self, *records: Mapping[str, Any]) -> None:
        self.log.add(*records)
        if self.tensorboard is not None:
            self.tensorboard.add(*records)

    def _check_weights(self) -> None:
        """Raise TrainingError if a weight is not finite, before it is evaluated or saved."""
        parameters = dict(self.learner.objective.named_parameters())
        if bad := not_finite(parameters):
            raise TrainingError(
                f"step {self.position.step}: {len(bad)} of {len(parameters)} weights are not finite after it, "
                f"{listed(bad, 3)}; {self.checkpoints.describe_newest()}. {ADVICE}",
                tensor=bad[0],
                expected="finite weights",
                found=bad,
            )

    def _evaluate(self, *, is_scheduled: bool = False) -> bool:
        """Read the held-out lines, at most once per step. Returns whether this is the best evaluation so far.

        is_scheduled: it counts for ``evaluation.patience``.
        """
        position = self.position
        if self.evaluator is None or self.evaluated_step == position.step:
            return False
        found = self.evaluator.evaluate()
        self.score, self.evaluated_step = found.score, position.step
        has_improved = position.record_score(found.score.cer, found.validation_loss)
        if has_improved:
            self.saved_step = None  # a checkpoint of this step has another best step
        if is_scheduled:
            position.record_scheduled(found.score.cer, found.validation_loss)
        fields = {"step": position.step, **found.fields(), "seconds": self.meter.elapsed()}
        if self.log.evaluated_step != position.step:
            self._record({"event": "evaluation", **fields})
        self.watch("evaluation", {**fields, "is_best": has_improved})
        self._report()
        self.meter.restart()
        return has_improved

    def _save(self) -> None:
        """Write a checkpoint of this step, unless an identical one exists."""
        if self.is_main and self.saved_step != self.position.step:
            if self.tensorboard is not None:
                self.tensorboard.flush()
            scaler = {} if self.accelerator.scaler is None else self.accelerator.scaler.state_dict()
            state = TrainingState(position=self.position, groups=self.learner.groups, scaler=scaler)
            path = self.checkpoints.save(state, self.reader, self.learner.objective, self.learner.optimizer)
            self.saved_step = self.position.step
            self.watch("checkpoint", {"step": self.position.step, "path": str(path)})

    def _publish(self, ended: Ending) -> None:
        """Copy the model of the best evaluation, or else the last one, into the folder of the run."""
        source = self.checkpoints.model_folder(self.position.best_step)
        if self.tensorboard is not None:
            self.tensorboard.close()
        if self.is_main and source is not None:
            with explain_damage(source.parent):
                require_finite_weights(source)
            with staged(self.folder, replaces=WEIGHT_FILES) as stage:
                shutil.copytree(source, stage, dirs_exist_ok=True)
                copy_lines_file(self.recipe, stage)
            # A resumed run that stops before its first evaluation would replace a report that shows more.
            has_report = self.log.evaluated_step is not None and (self.folder / REPORT_FILE).is_file()
            if self.score is not None or not has_report:
                self._report(ended)
        self.accelerator.wait_for_everyone()

    def _result(self, ended: Ending) -> Result:
        at = self.position
        records = read_log(self.folder) if self.is_main else []
        by_step = {record["step"]: record for record in records if record["event"] == "evaluation"}
        start, best = by_step.get(0, {}), by_step.get(at.best_step, {})
        return Result(
            self.folder,
            ended,
            at.step,
            self.score,
            at.skipped,
            at.best_step,
            at.best_cer,
            start.get("cer"),
            start.get("kept_cer"),
            best.get("kept_cer"),
        )

    def _report(self, ended: Ending | None = None) -> None:
        at = self.position
        best = None if at.best_step is None or at.best_cer is None else (at.best_step, at.best_cer)
        worst = () if self.score is None else self.score.worst
        seen = {} if self.evaluator is None else self.evaluator.look_at([line.source for line in worst])
        write_report(self.folder, self.recipe, best, self.score, seen, ended)


def _with_steps(recipe: Recipe, data: Mapping[str, Dataset]) -> Recipe:
    """``recipe`` with a number of steps for each stage of epochs. A batch has fewer of its lines if the run keeps others."""
    share = 0.0 if recipe.keep is None else recipe.keep.share
    size = recipe.batch.size * (1 - share)
    return attrs.evolve(recipe, stages=tuple(with_steps(stage, len(data[stage.data]), size) for stage in recipe.stages))  # type: ignore[misc]


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
