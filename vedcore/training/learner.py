"""One step of learning: loss, backward, clip, step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from vedcore.model import VisionEncoderDecoderModel
from vedcore.training.checkpoints import explain_damage
from vedcore.training.data.batches import Minibatch
from vedcore.training.objective import Objective
from vedcore.training.optimizer import initial_groups, make_optimizer, set_learning_rate
from vedcore.training.optimizer_state import load_optimizer_state
from vedcore.training.recipe import Recipe
from vedcore.training.state import TrainingState, check_state, load_scaler


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step computed; the tensors are still on the device, so that a step does not wait for it.

    losses: (2,) the sums of the decoder's loss and the CTC loss in this process. norm: () of the gradient.
    label_count: labels in all processes. sources: the names of the samples in this process.
    """

    losses: Tensor
    norm: Tensor
    label_count: int
    sources: list[str]


class Learner:
    """The objective and its optimiser, placed on the device and connected to the other processes."""

    def __init__(
        self,
        recipe: Recipe,
        model: VisionEncoderDecoderModel,
        accelerator: Accelerator,
        checkpoint: tuple[Path, TrainingState] | None,
    ) -> None:
        self.recipe, self.accelerator = recipe, accelerator
        if recipe.freeze:
            model.freeze(*recipe.freeze)
        if recipe.gradient_checkpointing:
            model.gradient_checkpointing_enable()
        torch.manual_seed(recipe.seed)
        self.objective = Objective(model, label_smoothing=recipe.loss.label_smoothing, ctc=recipe.loss.ctc > 0)
        self.objective.to(accelerator.device).train()
        if checkpoint is None:
            self.groups = initial_groups(recipe, self.objective)
            self.optimizer = make_optimizer(recipe, self.objective, self.groups)
        else:
            self._restore(*checkpoint)
        self._module, self._prepared_optimizer = accelerator.prepare(self.objective, self.optimizer)
        self._parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        self._loss_weights = torch.tensor([1.0, recipe.loss.ctc], device=accelerator.device)

    def _restore(self, path: Path, state: TrainingState) -> None:
        with explain_damage(path):
            check_state(path, state, self.recipe.stages, self.objective)
            self.groups = state.groups
            self.optimizer = make_optimizer(self.recipe, self.objective, self.groups)
            load_optimizer_state(path / "state", state.position.step, self.objective, self.optimizer)
            load_scaler(path, state, self.accelerator.scaler)

    @property
    def lr(self) -> float:
        """The learning rate of the first group in the last step."""
        rate: float = self.optimizer.param_groups[0]["lr"]
        return rate

    def step(self, batches: Sequence[Minibatch], label_count: int, lr: float, number: int) -> StepResult:
        """Update the weights with the mean gradient over the ``label_count`` labels of all batches and processes.

        The dropout of a step depends only on the seed, ``number`` (the completed steps) and the process.
        """
        accelerator = self.accelerator
        torch.manual_seed(_dropout_seed(self.recipe.seed, number, accelerator.process_index))
        set_learning_rate(self.optimizer, lr)
        losses = torch.zeros(2, device=accelerator.device)
        for batch in batches:
            # Only the last backward pass of a step exchanges gradients with the other processes.
            with nullcontext() if batch is batches[-1] else accelerator.no_sync(self._module):
                sums = self._losses(batch)
                # The processes average their gradients, hence the factor.
                mean = (sums * self._loss_weights).sum() * (accelerator.num_processes / label_count)
                accelerator.backward(mean)
                losses += sums.detach()
        norm = accelerator.clip_grad_norm_(self._parameters, self.recipe.optimizer.clip or math.inf)
        self._prepared_optimizer.step()
        self._prepared_optimizer.zero_grad()
        return StepResult(losses, norm, label_count, [source for batch in batches for source in batch.sources])

    def _losses(self, batch: Minibatch) -> Tensor:
        device = self.accelerator.device
        pixels, labels = batch.pixels.to(device, non_blocking=True), batch.labels.to(device, non_blocking=True)
        sums: Tensor = self._module(pixels, labels)
        return sums


def _dropout_seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))
