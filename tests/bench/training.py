"""A training step: forward, backward and the optimiser's step, each timed, on the same batch and two threads.

Both libraries start from the same checkpoint, in float32, with the dropout of its config; without dropout the losses must be
equal.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.bench import memory
from tests.bench.checkpoints import LINE_READER, VIT_GPT2
from tests.bench.models import TRANSFORMERS, VEDCORE, model_class
from tests.bench.options import Options, Part
from tests.bench.results import MEMORY, Result
from tests.bench.timing import milliseconds, rounds_for

LIBRARIES = (TRANSFORMERS, VEDCORE)
TIMES = ("forward", "backward", "optimiser", "whole")


@dataclass(frozen=True)
class Case:
    """A checkpoint, the shape of its batch, and the smallest ratio of the whole step that is good enough."""

    name: str
    checkpoint: str
    pixels: tuple[int, int, int, int]
    tokens: int
    vocabulary: int
    wanted: float


CASES = (
    Case("line reader, batch 64", LINE_READER, (64, 3, 32, 256), 16, 99, 1.15),
    Case("ViT-base + GPT-2, batch 4", VIT_GPT2, (4, 3, 224, 224), 32, 50257, 1.0),
)


def run(options: Options) -> Iterator[Result]:
    """Measure the cases one after the other."""
    for case in CASES:
        if options.only in case.name:
            folder = options.checkpoints.folder(case.checkpoint)
            values = times(case, folder, options.repeats)
            for library, measured in values.items():
                measured[MEMORY] = memory.peak(__name__, library, case.name, folder)
            yield Result("train", case.name, values, {"whole": case.wanted, MEMORY: 1.0})


def times(case: Case, folder: Path, repeats: int | None) -> dict[str, dict[str, float]]:
    """Median milliseconds of each part of a step, measured in turn. Exits with a message if the losses differ."""
    import torch

    torch.set_num_threads(2)
    steps = {library: Step(library, case, folder) for library in LIBRARIES}
    losses = {library: step.loss() for library, step in steps.items()}
    if abs(losses[TRANSFORMERS] - losses[VEDCORE]) > 1e-4:
        sys.exit(f"{case.name}: the losses differ: {losses}")
    first = milliseconds(lambda: [step.run() for step in steps.values()])
    samples: dict[str, list[list[float]]] = {library: [] for library in LIBRARIES}
    for _ in range(repeats or rounds_for(first)):
        for library, step in steps.items():
            samples[library].append(step.run())
    return {
        library: dict(zip(TIMES, map(statistics.median, zip(*rows, strict=True)), strict=True))
        for library, rows in samples.items()
    }


class Step:
    """A model of one library in training mode, its optimiser, and a batch that is the same in every step."""

    def __init__(self, library: str, case: Case, folder: Path) -> None:
        import torch

        self.model: Any = model_class(library).from_pretrained(folder).train()
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=1e-5)
        random = torch.Generator().manual_seed(0)
        self.batch = {
            "pixel_values": torch.randn(*case.pixels, generator=random),
            "labels": torch.randint(3, case.vocabulary, (case.pixels[0], case.tokens), generator=random),
        }
        self.batch["labels"][:, -1] = self.model.config.eos_token_id or self.model.config.decoder.eos_token_id

    def loss(self) -> float:
        """The loss without dropout."""
        import torch

        with torch.inference_mode():
            loss = float(self.model.eval()(**self.batch).loss)
        self.model.train()
        return loss

    def run(self) -> list[float]:
        """Take one step. Returns the milliseconds of each part and of the whole."""
        moments = [time.perf_counter()]
        loss = self.model(**self.batch).loss
        moments.append(time.perf_counter())
        loss.backward()
        moments.append(time.perf_counter())
        self.optimiser.step()
        self.optimiser.zero_grad()
        moments.append(time.perf_counter())
        parts = [(after - before) * 1000 for before, after in pairwise(moments)]
        return [*parts, (moments[-1] - moments[0]) * 1000]


def run_once(library: str, name: str, folder: Path) -> None:
    """Load a checkpoint and take two steps, for ``memory``: the optimiser's state exists from the first step on."""
    import torch

    torch.set_num_threads(2)
    step = Step(library, next(case for case in CASES if case.name == name), folder)
    for _ in range(2):
        step.run()


TRAIN = Part("Training step", (*TIMES, MEMORY), run)
