"""From samples to the tensors of a batch.

B images, C channels, H x W pixels, T tokens of the longest label.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vedcore.errors import ImageError
from vedcore.model.loss import IGNORED
from vedcore.training.data.label_encoder import LabelEncoder
from vedcore.training.data.problem import Fault, Problem
from vedcore.training.data.sample import Dataset
from vedcore.training.data.validated import sample_at
from vedcore.vision import load_image


@dataclass(frozen=True, slots=True)
class Example:
    """A sample as a model takes it. pixels: (C, H, W) float32; ids: the token ids of the label, the end token last."""

    pixels: np.ndarray[Any, Any]
    ids: list[int]
    source: str


class ExampleDataset:
    """The examples of a data set, by pairs (sample index, position in the stage).

    The augmentation of an example depends only on ``seed`` and the position. A sample that cannot be used gives a Problem.
    """

    def __init__(
        self,
        data: Dataset,
        image_processor: Callable[..., Any],
        encode_label: LabelEncoder,
        augment: Callable[..., Any],
        seed: tuple[int, ...],
    ) -> None:
        self.data, self.image_processor, self.encode_label = data, image_processor, encode_label
        self.augment, self.seed = augment, seed

    def __getitem__(self, key: tuple[int, int]) -> Example | Problem:
        index, position = key
        sample = sample_at(self.data, index)
        if isinstance(sample, Problem):
            return sample
        ids = self.encode_label(sample.text, sample.source)
        if isinstance(ids, Problem):
            return ids
        try:
            image = self.augment(load_image(sample.image), np.random.default_rng((*self.seed, position)))
            pixels = self.image_processor(image, return_tensors="np")["pixel_values"][0]
        except ImageError as error:
            return Problem(Fault.unreadable_image, sample.source, str(error))
        return Example(pixels, ids, sample.source)


class Minibatch(NamedTuple):
    """pixels: (B, C, H, W) float32. labels: (B, T) long, -100 after the end token. problems: the samples left out of the B."""

    pixels: Tensor
    labels: Tensor
    sources: list[str]
    problems: list[Problem]


def collate(items: Sequence[Example | Problem]) -> Minibatch:
    """The examples among ``items`` as one batch, which is empty if there are none."""
    examples = [item for item in items if isinstance(item, Example)]
    longest = max((len(example.ids) for example in examples), default=0)
    labels = torch.full((len(examples), longest), IGNORED)
    for row, example in zip(labels, examples, strict=True):
        row[: len(example.ids)] = torch.tensor(example.ids)
    pixels = torch.from_numpy(np.stack([example.pixels for example in examples])) if examples else torch.empty(0)
    problems = [item for item in items if isinstance(item, Problem)]
    return Minibatch(pixels, labels, [example.source for example in examples], problems)
