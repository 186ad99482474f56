"""The loss: the cross-entropy of logits and the labels at the same places, as a sum and a count.

A mean of means is not the mean: if the parts of a batch have unequal numbers of labels, only their sums, divided by one count,
give the gradient of the whole batch. Shapes: R rows, T tokens, V vocabulary size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vedcore.errors import ConfigError

IGNORED = -100
"""The label of a place where nothing is learned."""


@dataclass(frozen=True, slots=True)
class LossSum:
    """sum: (), the sum of the losses of all labels that count. count: () long, how many labels count."""

    sum: Tensor
    count: Tensor

    @property
    def mean(self) -> Tensor:
        """(): the mean loss of a label; 0, with a gradient of 0, if no label counts."""
        return self.sum / self.count.clamp(min=1)


def token_loss(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> LossSum:
    """(R, T, V) logits, (R, T) long labels -> their cross-entropy in float32. Labels of -100 do not count; nothing is shifted.

    label_smoothing: the share of each label that is spread evenly over the vocabulary (Szegedy et al., arXiv:1512.00567).
    Raises ConfigError unless it is a number from 0 to 1.
    """
    if not isinstance(label_smoothing, int | float) or not 0 <= label_smoothing <= 1:
        raise ConfigError(
            f"label_smoothing must be a number from 0 to 1, got {label_smoothing!r}",
            field="label_smoothing",
            expected="a number from 0 to 1",
            found=label_smoothing,
        )
    precise = logits.flatten(0, 1).to(torch.promote_types(logits.dtype, torch.float32))
    loss = F.cross_entropy(
        precise, labels.flatten(), ignore_index=IGNORED, reduction="sum", label_smoothing=label_smoothing
    )
    return LossSum(loss, count_labels(labels))


def count_labels(labels: Tensor) -> Tensor:
    """(R, T) labels -> () long: how many are not -100."""
    return (labels != IGNORED).sum()


def label_loss(
    logits: Tensor, labels: Tensor | None, label_smoothing: float = 0.0, num_items: Tensor | float | None = None
) -> Tensor | None:
    """(): the loss of (R, T, V) logits: the mean over the labels that count, or the sum divided by ``num_items``."""
    if labels is None:
        return None
    total = token_loss(logits, labels, label_smoothing)
    return total.mean if num_items is None else total.sum / num_items
