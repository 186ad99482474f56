"""The batches of a stage, prepared by worker processes."""

from __future__ import annotations

from typing import Any

from accelerate import Accelerator
from torch.utils.data import DataLoader

from vedcore.reader import Reader
from vedcore.training.data.batches import ExampleDataset, collate
from vedcore.training.data.label_encoder import LabelEncoder
from vedcore.training.data.sample import Dataset
from vedcore.training.data.sampler import BatchSampler
from vedcore.training.data.subset import Joined
from vedcore.training.recipe import Recipe
from vedcore.training.signals import ignore_signals
from vedcore.training.state import Position


def stage_loader(
    recipe: Recipe,
    position: Position,
    data: Dataset,
    kept: Dataset | None,
    reader: Reader,
    accelerator: Accelerator,
) -> DataLoader[Any]:
    """The Minibatches of this process for the remaining steps of the current stage, ``accumulation`` of them per step.

    kept: lines that take the recipe's share of each batch.
    """
    seed = (recipe.seed, position.stage)
    examples = ExampleDataset(
        data if kept is None else Joined(data, kept),
        reader.processor.image_processor,
        LabelEncoder.for_reader(reader),
        recipe.augmentation,
        seed,
    )
    sampler = BatchSampler(
        length=len(data),
        kept=0 if kept is None else len(kept),
        share=0.0 if recipe.keep is None else recipe.keep.share,
        seed=seed,
        start=position.stage_step,
        steps=recipe.stages[position.stage].steps,
        size=recipe.batch.size,
        accumulation=recipe.batch.accumulation,
        rank=accelerator.process_index,
        world=accelerator.num_processes,
    )
    return DataLoader(
        examples,  # type: ignore[arg-type]
        batch_sampler=sampler,
        num_workers=recipe.batch.workers,
        collate_fn=collate,
        worker_init_fn=ignore_signals if recipe.batch.workers else None,
        pin_memory=accelerator.device.type == "cuda",
    )
