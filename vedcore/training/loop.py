"""The loop: batches in, steps of the optimiser, evaluations and checkpoints out, in one process or in several.

What a step does is a pure function of the state before it, the recipe's seed and the step's number: its images, their
augmentation, its dropout. That is why a run that is resumed goes on as if it had never stopped.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from accelerate.utils import gather_object
from torch import Tensor
from torch.utils.data import DataLoader

from vedcore.errors import CheckpointError, ConfigError, TrainingError, foreign
from vedcore.model.groups import Pace, parameter_groups
from vedcore.model.loss import count_labels
from vedcore.reader import Reader
from vedcore.storage.files import read_json, staged, write_json
from vedcore.storage.tensors import WEIGHT_FILES, listed
from vedcore.training.build import build_reader, label_writer
from vedcore.training.checkpoints import (
    Checkpoints,
    Group,
    Position,
    State,
    check_state,
    check_weights,
    load_scaler,
    load_state,
    not_finite,
    read_state,
    resuming,
)
from vedcore.training.data import Dataset, Examples, Folder, Minibatch, Places, Problem, collate
from vedcore.training.evaluate import Score, evaluate
from vedcore.training.log import Log
from vedcore.training.objective import Objective
from vedcore.training.recipe import Recipe, Stage
from vedcore.training.report import FILE as REPORT_FILE
from vedcore.training.report import write_report
from vedcore.training.schedule import learning_rate
from vedcore.training.sets import open_data, split_data, usable_data

RECIPE_FILE = "recipe.json"
Watch = Callable[[str, Mapping[str, Any]], None]
"""Called with an event and its fields: "progress", "evaluation", "checkpoint", "skipped"."""

_PRECISIONS = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}
_NO_INFLUENCE = {"recipe.batch.workers", "recipe.log", "recipe.max_minutes"}
"""What may differ when a run is resumed."""
_CALMER = "A smaller learning rate, more warm-up, a smaller optimizer.clip or precision = 'float32' may help"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended: "done", "time" (max_minutes) or "interrupted"; after how many steps; its last evaluation.

    best_step, best_cer: the evaluation with the lowest error rate, the latest of equal ones, whose model ``folder`` holds;
    None if there was none, and the folder holds that of the last step.
    """

    folder: Path
    ended: Literal["done", "time", "interrupted"]
    step: int
    score: Score | None
    skipped: int
    best_step: int | None = None
    best_cer: float | None = None


def train(
    recipe: Recipe,
    out: str | os.PathLike[str],
    data: Dataset | str | os.PathLike[str] | None = None,
    *,
    beside: str | os.PathLike[str] = ".",
    resume: bool = False,
    skip_bad: bool = False,
    watch: Watch = lambda event, fields: None,
) -> Result:
    """Train what ``recipe`` describes; ``out`` becomes a checkpoint for reading, with the log and the report of the run.

    data: the data set named "train", a folder or anything with ``len`` and indices. beside: where the recipe's relative paths
    start. resume: go on from the last checkpoint in ``out``. skip_bad: leave out samples that cannot be used, and count them.
    Ctrl-C, SIGTERM and SIGHUP end the run after its step, with a checkpoint. A second Ctrl-C or SIGTERM, or one before the
    first step, does what it did before.
    Raises ConfigError, TrainingError (bad data, a loss or weights not finite), CheckpointError (of a checkpoint
    that is damaged), SaveError (the last checkpoint is as it was).
    """
    folder = Path(out)
    datasets = open_data(recipe, data, Path(beside))
    accelerator = _accelerator(recipe)
    if accelerator.is_main_process:
        _claim(folder, recipe, datasets, resume)
    accelerator.wait_for_everyone()
    with torch.random.fork_rng(devices=[]):
        return _Run(recipe, folder, datasets, accelerator, skip_bad=skip_bad, watch=watch).go()


def _accelerator(recipe: Recipe) -> Accelerator:
    """What knows the device, the precision and the other processes."""
    AcceleratorState._reset_state()  # an earlier run in this process may have had another precision
    with foreign(ConfigError, f"precision = {recipe.precision!r}"):
        accelerator = Accelerator(
            mixed_precision=_PRECISIONS[recipe.precision],
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],  # a pooler, say
        )
    if recipe.precision != "float32" and not accelerator.native_amp:
        raise ConfigError(
            f"precision = {recipe.precision!r} is not to be had on {accelerator.device.type}; take bfloat16 or float32"
        )
    started = os.environ.get("WORLD_SIZE", "1")  # of torchrun, which accelerate follows on a CPU only when it is told
    if accelerator.num_processes == 1 and started.isdecimal() and int(started) > 1:
        raise ConfigError(
            f"this is one of {started} processes (WORLD_SIZE), and alone: on a CPU they are joined where "
            "ACCELERATE_USE_CPU=true is set; set it, or start one"
        )
    passes = recipe.batch.accumulation * accelerator.num_processes
    if recipe.batch.size % passes:
        raise ConfigError(
            f"batch.size ({recipe.batch.size}) must be a multiple of batch.accumulation times processes, {passes}"
        )
    return accelerator


def _claim(folder: Path, recipe: Recipe, datasets: Mapping[str, Dataset], resume: bool) -> None:
    """Make ``folder`` the place of this run, or see that it is. ConfigError if something else would be lost in it."""
    path = folder / RECIPE_FILE
    asked = {"recipe": recipe.to_dict(), "data": {name: len(dataset) for name, dataset in datasets.items()}}
    digests = {name: dataset.digest() for name, dataset in datasets.items() if isinstance(dataset, Folder)}
    if resume and not path.is_file():
        raise ConfigError(f"{folder}: no run to resume, {RECIPE_FILE} is missing")
    newest = Checkpoints(folder, recipe.checkpoints.keep).newest()
    if resume and newest is not None:  # what got no further than its start is started anew
        started = read_json(path)
        known = started.pop("digests", digests)  # a run that began before there were any goes by its numbers
        found = _differences(started, asked) or _differences(known, digests, "digest of names and texts in data")
        if found:
            raise ConfigError(
                f"{path}: the run was started otherwise ({'; '.join(found[:4])}); resume it as it was started, or choose "
                "another folder"
            )
        return
    with foreign(ConfigError, f"{str(folder)[:200]!r}: no folder can have that name"):
        place = folder.resolve()
    for name, dataset in datasets.items():
        if isinstance(dataset, Folder) and place.is_relative_to(dataset.path.resolve()):
            raise ConfigError(
                f"{folder}: is in {dataset.path}, the folder of data set {name!r}; choose a folder outside of it for what is "
                "trained"
            )
    if newest is not None:
        raise ConfigError(
            f"{folder}: holds a run already; go on with it (--resume, resume=True), or choose another folder"
        )
    if (folder / "config.json").exists():
        raise ConfigError(
            f"{folder}: holds a checkpoint already, which the trained one would replace; choose another folder"
        )
    with staged(folder) as stage:
        write_json(stage / RECIPE_FILE, {**asked, "digests": digests})


def _differences(old: Any, new: Any, path: str = "") -> list[str]:
    if path in _NO_INFLUENCE or old == new:
        return []
    if isinstance(old, list) and isinstance(new, list):
        pairs = enumerate(zip_longest(old, new))
        return [line for at, (was, now) in pairs for line in _differences(was, now, f"{path}[{at}]")]
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [f"{path} was {old!r}, is {new!r}"]
    return [
        line
        for name in {**old, **new}
        for line in _differences(old.get(name), new.get(name), f"{path}.{name}".removeprefix("."))
    ]


@dataclass(frozen=True, slots=True)
class _Taken:
    """A step whose numbers are still on the device. sums: (2,) losses. norm: () of the gradient. count: of labels."""

    step: int
    stage: int
    rate: float
    sums: Tensor
    norm: Tensor
    count: int
    images: int
    sources: list[str]


class _Run:
    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        datasets: Mapping[str, Dataset],
        accelerator: Accelerator,
        *,
        skip_bad: bool,
        watch: Watch,
    ) -> None:
        self.recipe, self.folder, self.accelerator, self.skip_bad = recipe, folder, accelerator, skip_bad
        self.world, self.is_main = accelerator.num_processes, accelerator.is_main_process
        self.watch: Watch = watch if self.is_main else lambda event, fields: None
        self.checkpoints = Checkpoints(folder, recipe.checkpoints.keep)
        newest = self.checkpoints.newest()
        state, self.reader = _resumed(newest) if newest is not None else (None, build_reader(recipe.model, recipe.seed))
        self.position = Position() if state is None else state.position
        usable, self.problems = usable_data(datasets, self.reader, skip_bad)
        self.data, self.held_out = split_data(recipe, usable)

        model = self.reader.model
        if recipe.freeze:
            model.freeze(*recipe.freeze)
        if recipe.gradient_checkpointing:
            model.gradient_checkpointing_enable()
        torch.manual_seed(recipe.seed)
        self.objective = Objective(model, label_smoothing=recipe.loss.label_smoothing, ctc=recipe.loss.ctc > 0)
        self.objective.to(self.accelerator.device).train()
        if newest is None or state is None:
            self.groups = _groups(recipe, self.objective)
            self.raw_optimizer = _optimizer(recipe, self.objective, self.groups)
        else:
            with resuming(newest):
                check_state(newest, state, recipe.stages, self.objective)
                self.groups = state.groups
                self.raw_optimizer = _optimizer(recipe, self.objective, self.groups)
                load_state(newest, state.position.step, self.objective, self.raw_optimizer)
                load_scaler(newest, state, self.accelerator.scaler)
        self.module, self.optimizer = self.accelerator.prepare(self.objective, self.raw_optimizer)
        self.trained = [parameter for group in self.raw_optimizer.param_groups for parameter in group["params"]]
        self.weights = torch.tensor([1.0, recipe.loss.ctc], device=self.accelerator.device)
        self.write = label_writer(self.reader)

        self.started = time.monotonic()
        self.pending: list[_Taken] = []
        self.recent: list[tuple[float, int]] = []
        self.recent_since = self.started
        self.saved: int | None = self.position.step if newest is not None else None
        self.score: Score | None = None
        self.evaluated: int | None = None

    def go(self) -> Result:
        """All stages that are left."""
        if self.is_main:
            self.checkpoints.sweep()
            self.log = Log(self.folder, self.position.step if self.saved is not None else -1)
            if self.problems and self.saved is None:
                self._count_skipped(self.problems)
        ended: Literal["done", "time", "interrupted"] = "done"
        with _asked_to_stop() as asked:
            while self.position.stage < len(self.recipe.stages):
                stopped = self._stage(self.recipe.stages[self.position.stage], asked)
                if stopped is not None:
                    ended = stopped
                    break
                self.position.stage += 1
                self.position.stage_step, self.position.stage_seconds = 0, 0.0
            self._flush()
            if self.position.step:
                self._check_weights()
                if ended != "interrupted":
                    self._evaluate()
                self._save()
                self._publish()
        at = self.position
        return Result(self.folder, ended, at.step, self.score, at.skipped, at.best_step, at.best_cer)

    def _stage(self, stage: Stage, asked: threading.Event) -> Literal["time", "interrupted"] | None:
        """The steps that are left of a stage; why they are not all, if so."""
        position, recipe = self.position, self.recipe
        began = time.monotonic() - position.stage_seconds
        for batches in _groups_of(recipe.batch.accumulation, self._loader(stage)):
            count = sum(int(count_labels(batch.labels)) for batch in batches)
            late = recipe.max_minutes is not None and time.monotonic() - self.started >= 60 * recipe.max_minutes
            stop = 2 if asked.is_set() else int(late)
            bad = sum(len(batch.problems) for batch in batches)
            count, bad, stop, seconds = self._agree(count, bad, stop, time.monotonic() - began)
            if stop:
                return "interrupted" if stop >= 2 else "time"
            position.stage_seconds = seconds
            done = seconds / (60 * stage.minutes) if stage.minutes else position.stage_step / (stage.steps or 1)
            if done >= 1:
                return None
            self._look_at(batches, count, bad)
            self._step(batches, count, learning_rate(stage, position.stage_step, done))
            position.step += 1
            position.stage_step += 1
            self._after_step()
        return None

    def _loader(self, stage: Stage) -> DataLoader[Any]:
        recipe, data = self.recipe, self.data[stage.data]
        seed = (recipe.seed, self.position.stage)
        examples = Examples(data, self.reader.processor.image_processor, self.write, recipe.augmentation, seed)
        places = Places(
            length=len(data),
            seed=seed,
            start=self.position.stage_step,
            steps=stage.steps,
            size=recipe.batch.size,
            accumulation=recipe.batch.accumulation,
            rank=self.accelerator.process_index,
            world=self.world,
        )
        return DataLoader(
            examples,  # type: ignore[arg-type]
            batch_sampler=places,
            num_workers=recipe.batch.workers,
            collate_fn=collate,
            worker_init_fn=_ignore_signals if recipe.batch.workers else None,
            pin_memory=self.accelerator.device.type == "cuda",
        )

    def _agree(self, count: int, bad: int, stop: int, seconds: float) -> tuple[int, int, int, float]:
        """Labels and bad samples of all processes, whether any is to stop, the time of the first: the same in each."""
        if self.world == 1:
            return count, bad, stop, seconds
        own = torch.tensor([count, bad, stop, seconds if self.is_main else 0.0], dtype=torch.float64)
        total = self.accelerator.reduce(own.to(self.accelerator.device), "sum").tolist()
        return int(total[0]), int(total[1]), int(total[2]), total[3]

    def _look_at(self, batches: list[Minibatch], count: int, bad: int) -> None:
        """TrainingError for samples that turned out unusable, ``bad`` in all processes, or their number is kept."""
        problems = [problem for batch in batches for problem in batch.problems]
        if bad and self.world > 1:  # texts are exchanged only where there are some
            problems = gather_object(problems)
        step = self.position.step + 1
        if problems and not self.skip_bad:
            raise TrainingError(
                f"step {step}: {'; '.join(map(str, problems[:5]))}; {self._last_good()}. Leave such samples out with "
                "--skip-bad (skip_bad=True)"
            )
        if not count or not all(len(batch.pixels) for batch in batches):
            raise TrainingError(f"step {step}: no sample of its batch can be used: {'; '.join(map(str, problems[:5]))}")
        if problems and self.is_main:
            self._count_skipped(problems)

    def _step(self, batches: list[Minibatch], count: int, rate: float) -> None:
        """One step: the gradient of the whole batch, however it is divided, and the optimiser."""
        device, accelerator = self.accelerator.device, self.accelerator
        torch.manual_seed(_dropout_seed(self.recipe.seed, self.position.step, accelerator.process_index))
        for group in self.raw_optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        total = torch.zeros(2, device=device)
        for number, batch in enumerate(batches, 1):
            with nullcontext() if number == len(batches) else accelerator.no_sync(self.module):
                pixels, labels = batch.pixels.to(device, non_blocking=True), batch.labels.to(device, non_blocking=True)
                sums = self.module(pixels, labels)
                accelerator.backward((sums * self.weights).sum() * (self.world / count))  # processes are averaged
                total += sums.detach()
        norm = accelerator.clip_grad_norm_(self.trained, self.recipe.optimizer.clip or math.inf)
        self.optimizer.step()
        self.optimizer.zero_grad()
        sources = [source for batch in batches for source in batch.sources]
        images = self.recipe.batch.size
        taken = _Taken(self.position.step + 1, self.position.stage, rate, total, norm, count, images, sources)
        self.pending.append(taken)

    def _after_step(self) -> None:
        recipe, step = self.recipe, self.position.step
        evaluates = step % recipe.evaluation.every == 0
        saves = step % recipe.checkpoints.every == 0
        if evaluates or saves or step % recipe.log == 0 or self.accelerator.device.type == "cpu":
            self._flush()
        if step % recipe.log == 0:
            self._tell_progress()
        if evaluates or saves:
            self._check_weights()
        improved = self._evaluate() if evaluates else False
        if saves or improved:
            self._save()

    def _flush(self) -> None:
        """Bring the numbers of the last steps here, look at them and log them. TrainingError if one is not finite."""
        if not self.pending:
            return
        taken, self.pending = self.pending, []
        sums = self.accelerator.reduce(torch.stack([step.sums for step in taken]), "sum").tolist()
        norms = torch.stack([step.norm for step in taken]).tolist()
        records = []
        for step, (loss, ctc), norm in zip(taken, sums, norms, strict=True):
            finite = math.isfinite(norm)
            if not math.isfinite(loss + ctc) or not (finite or self.recipe.precision == "float16"):
                self._refuse(step, loss / step.count, norm)
            record = {
                "event": "step",
                "step": step.step,
                "stage": step.stage,
                "loss": loss / step.count,
                "lr": step.rate,
            }
            record |= {"ctc": ctc / step.count} if self.recipe.loss.ctc else {}
            records.append({**record, "norm": norm if finite else None})
            self.recent.append((loss / step.count, step.images))
        if self.is_main:
            self.log.add(*records)

    def _refuse(self, step: _Taken, loss: float, norm: float) -> None:
        raise TrainingError(
            f"step {step.step}: the loss is {loss}, the norm of its gradient {norm}; the images of this step are "
            f"{', '.join(step.sources[:16])}{', ...' if len(step.sources) > 16 else ''}; {self._last_good()}. {_CALMER}"
        )

    def _check_weights(self) -> None:
        """TrainingError if the last step left weights that are not finite: they are neither read with nor saved."""
        parameters = dict(self.objective.named_parameters())
        if bad := not_finite(parameters):
            raise TrainingError(
                f"step {self.position.step}: {len(bad)} of {len(parameters)} weights are not finite after it, "
                f"{listed(bad, 3)}; {self._last_good()}. {_CALMER}"
            )

    def _last_good(self) -> str:
        newest = self.checkpoints.newest()
        return "there is no checkpoint yet" if newest is None else f"the last good checkpoint is {newest}"

    def _tell_progress(self) -> None:
        now = time.monotonic()
        images = sum(count for _, count in self.recent)
        loss = sum(loss for loss, _ in self.recent) / max(1, len(self.recent))
        stage = self.recipe.stages[self.position.stage]
        per_step = (now - self.recent_since) / max(1, len(self.recent))
        steps = [stage.steps for stage in self.recipe.stages]
        self.watch(
            "progress",
            {
                "step": self.position.step,
                "steps": None if None in steps else sum(filter(None, steps)),
                "loss": loss,
                "lr": self.raw_optimizer.param_groups[0]["lr"],
                "images_per_second": images / (now - self.recent_since),
                "seconds_left": self._seconds_left(stage, per_step),
            },
        )
        self.recent, self.recent_since = [], now

    def _seconds_left(self, stage: Stage, per_step: float) -> float:
        def needed(other: Stage) -> float:
            return 60 * other.minutes if other.minutes else (other.steps or 0) * per_step

        here = self.position.stage_seconds if stage.minutes else self.position.stage_step * per_step
        left = needed(stage) - here + sum(map(needed, self.recipe.stages[self.position.stage + 1 :]))
        if self.recipe.max_minutes is not None:
            left = min(left, 60 * self.recipe.max_minutes - (time.monotonic() - self.started))
        return max(0.0, left)

    def _evaluate(self) -> bool:
        """Read the lines that are held out, once a step at most; whether no evaluation was as good before."""
        position = self.position
        improved = False
        if self.held_out is not None and self.is_main and self.evaluated != position.step:
            evaluation = self.recipe.evaluation
            self.objective.eval()
            score = evaluate(
                self.reader,
                self.held_out,
                beams=evaluation.beams,
                batch_size=evaluation.batch_size,
                cut=False,  # what a step learns from is whole as well
                worst=evaluation.worst,
            )
            self.objective.train()
            is_known = position.best_step == position.step  # a resumed run may begin where its last evaluation was
            improved = not is_known and (position.best_cer is None or score.cer <= position.best_cer)
            if improved:
                position.best_step, position.best_cer = position.step, score.cer
                self.saved = None  # what may be saved of this step says otherwise
            self.score, self.evaluated = score, position.step
            fields = {
                "step": position.step,
                "cer": score.cer,
                "wer": score.wer,
                "exact": score.exact,
                "lines": score.lines,
                "calibration_error": score.calibration_error,
                "lines_per_second": score.lines_per_second,
                "seconds": time.monotonic() - self.started,
            }
            if self.log.evaluated != position.step:
                self.log.add({"event": "evaluation", **fields})
            self.watch("evaluation", fields)
            self._report()
            self.recent, self.recent_since = [], time.monotonic()
        return improved

    def _save(self) -> None:
        """A checkpoint of this step, if there is none that says the same."""
        if self.is_main and self.saved != self.position.step:
            scaler = {} if self.accelerator.scaler is None else self.accelerator.scaler.state_dict()
            state = State(position=self.position, groups=self.groups, scaler=scaler)
            path = self.checkpoints.save(state, self.reader, self.objective, self.raw_optimizer)
            self.saved = self.position.step
            self.watch("checkpoint", {"step": self.position.step, "path": str(path)})

    def _publish(self) -> None:
        """Make the folder of the run a checkpoint for reading: that of the best evaluation, or else the last."""
        source = self.checkpoints.model(self.position.best_step)
        if self.is_main and source is not None:
            with resuming(source.parent):
                check_weights(source)
            with staged(self.folder, replaces=WEIGHT_FILES) as stage:
                shutil.copytree(source, stage, dirs_exist_ok=True)
            # A run that was resumed and is stopped before it evaluates has less to show than the page that is there.
            if self.score is not None or self.log.evaluated is None or not (self.folder / REPORT_FILE).is_file():
                self._report()
        self.accelerator.wait_for_everyone()

    def _report(self) -> None:
        at = self.position
        best = None if at.best_step is None or at.best_cer is None else (at.best_step, at.best_cer)
        worst = () if self.score is None else self.score.worst
        pictures = {} if self.held_out is None else _pictures(self.held_out, {line.source for line in worst})
        write_report(self.folder, self.recipe, best, self.score, pictures)

    def _count_skipped(self, problems: list[Problem]) -> None:
        self.position.skipped += len(problems)
        counts: dict[str, int] = {}
        for problem in problems:
            counts[problem.fault] = counts.get(problem.fault, 0) + 1
        fields = {"step": self.position.step, "counts": counts, "problems": [str(problem) for problem in problems[:50]]}
        self.log.add({"event": "skipped", **fields})
        self.watch("skipped", fields)


def _resumed(path: Path) -> tuple[State, Reader]:
    """Where the run stood at the checkpoint ``path``, and what it had learned. CheckpointError if that is damaged."""
    with resuming(path):
        state, reader = read_state(path), Reader.load(path / "model", dtype=torch.float32)
        if bad := not_finite(dict(reader.model.named_parameters())):
            raise CheckpointError(f"{path / 'model'}: not finite are {listed(bad)}")
    return state, reader


def _groups(recipe: Recipe, objective: Objective) -> tuple[Group, ...]:
    """The groups of the optimiser at the start of a run."""

    def pace(factor: float) -> Pace:
        return Pace(lr=factor, weight_decay=recipe.optimizer.weight_decay)

    parts = {part: pace(factor) for part, factor in recipe.optimizer.pace.items()}
    groups = [
        Group(
            names=tuple(f"model.{name}" for name in group["names"]),
            factor=group["lr"],
            weight_decay=group["weight_decay"],
        )
        for group in parameter_groups(objective.model, pace(1.0), parts)
    ]
    if not groups:
        raise ConfigError(f"freeze = {list(recipe.freeze)} leaves nothing to learn")
    if objective.ctc is not None:
        groups.append(Group(names=tuple(f"ctc.{name}" for name, _ in objective.ctc.named_parameters())))
    return tuple(groups)


def _optimizer(recipe: Recipe, objective: Objective, groups: tuple[Group, ...]) -> torch.optim.Optimizer:
    parameters = dict(objective.named_parameters())
    settings = recipe.optimizer
    device = next(objective.parameters()).device.type
    with foreign(ConfigError, "recipe.optimizer"):
        return torch.optim.AdamW(
            [
                {
                    "params": [parameters[name] for name in group.names],
                    "factor": group.factor,
                    "weight_decay": group.weight_decay,
                }
                for group in groups
            ],
            betas=(settings.beta1, settings.beta2),
            eps=settings.eps,
            fused=device in ("cpu", "cuda"),
        )


def _dropout_seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _pictures(data: Dataset, sources: set[str]) -> dict[str, Any]:
    samples = (data[index] for index in range(len(data)))
    return {sample.source: sample.image for sample in samples if sample.source in sources}


def _groups_of(size: int, items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group


def _ignore_signals(_: int) -> None:
    """In a worker process: Ctrl-C and a closed terminal reach it too, but the main process decides when to stop."""
    for number in (signal.SIGINT, signal.SIGTERM, *_hangup()):
        signal.signal(number, signal.SIG_IGN)


def _hangup() -> list[signal.Signals]:
    """SIGHUP, which a terminal sends that is closed; none under nohup, and where there is no such signal."""
    found = getattr(signal, "SIGHUP", None)
    return [] if found is None or signal.getsignal(found) is signal.SIG_IGN else [found]


@contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """An event that Ctrl-C, SIGTERM or SIGHUP sets. A second Ctrl-C or SIGTERM does what it did before; SIGHUP comes twice
    of itself, from the terminal and from the shell.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, *_hangup())}

    def ask(number: int, frame: Any) -> None:
        asked.set()
        for once in (signal.SIGINT, signal.SIGTERM):
            signal.signal(once, before[once])

    for number in before:
        signal.signal(number, ask)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
