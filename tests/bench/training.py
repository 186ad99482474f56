"""A training step beside transformers: forward, backward and the optimiser's step, each timed, on the same batch.

Both start from the same checkpoint, in float32, with the dropout of its config; without it the losses must be equal.
"""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

LIBRARIES = ("transformers", "vedcore")
PARTS = ("forward", "backward", "optimiser", "whole")


@dataclass(frozen=True)
class Training:
    """A checkpoint, the shape of a batch of it, and the ratio that is wanted."""

    name: str
    checkpoint: str
    pixels: tuple[int, int, int, int]
    tokens: int
    vocabulary: int
    repeats: int
    at_least: float


TRAININGS = (
    Training("line reader, batch 64", "line-reader", (64, 3, 32, 256), 16, 99, 7, 1.15),
    Training("ViT-base + GPT-2, batch 4", "base", (4, 3, 224, 224), 32, 50257, 3, 1.0),
)


def times(training: Training, folder: Path) -> dict[str, dict[str, float]]:
    """Median milliseconds of each part of a step for both libraries, measured in turn. Leaves if the losses differ."""
    import torch

    torch.set_num_threads(2)
    steps = {library: Step(library, training, folder) for library in LIBRARIES}
    losses = {library: step.loss() for library, step in steps.items()}
    if abs(losses["transformers"] - losses["vedcore"]) > 1e-4:
        sys.exit(f"{training.name}: the losses differ: {losses}")
    for step in steps.values():
        step.run()
    samples: dict[str, list[list[float]]] = {library: [] for library in LIBRARIES}
    for _ in range(training.repeats):
        for library, step in steps.items():
            samples[library].append(step.run())
    return {
        library: dict(zip(PARTS, map(statistics.median, zip(*taken, strict=True)), strict=True))
        for library, taken in samples.items()
    }


class Step:
    """A model of one library, its optimiser and a batch that is always the same."""

    def __init__(self, library: str, training: Training, folder: Path) -> None:
        import torch

        if library == "vedcore":
            from vedcore import VisionEncoderDecoderModel
        else:
            from transformers import VisionEncoderDecoderModel
        self.model: Any = VisionEncoderDecoderModel.from_pretrained(folder)
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=1e-5)
        random = torch.Generator().manual_seed(0)
        self.batch = {
            "pixel_values": torch.randn(*training.pixels, generator=random),
            "labels": torch.randint(3, training.vocabulary, (training.pixels[0], training.tokens), generator=random),
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
        """One step: the milliseconds of each part and of the whole."""
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
