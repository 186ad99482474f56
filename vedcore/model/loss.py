"""The loss: the cross-entropy of labels, as a sum and a count. Logits and labels have the same positions.

The parts of a batch have unequal numbers of labels, so the mean of their means is not the mean of the batch. Their sums,
divided by one count, give the gradient of the whole batch. Shapes: R rows, T tokens, V vocabulary size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vedcore.errors import ConfigError

IGNORED = -100
"""The label that the loss ignores, as in torch and transformers."""


@dataclass(frozen=True, slots=True)
class LossSum:
    """sum: (), the sum of the losses of all labels that are not ignored. count: () long, the number of these labels."""

    sum: Tensor
    count: Tensor

    @property
    def mean(self) -> Tensor:
        """(): the mean loss of a label. It is 0, with a gradient of 0, if all labels are ignored."""
        return self.sum / self.count.clamp(min=1)


def token_loss(logits: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> LossSum:
    """(R, T, V) logits, (R, T) long labels -> their cross-entropy, in float32 or a more precise type.

    Labels of -100 are ignored, and labels are not shifted. label_smoothing: the share of each label that is spread evenly
    over the vocabulary (Szegedy et al., arXiv:1512.00567). Raises ConfigError unless it is a number from 0 to 1.
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
    """(R, T) labels -> () long: the number of labels that are not ignored."""
    return (labels != IGNORED).sum()


def label_loss(
    logits: Tensor, labels: Tensor | None, label_smoothing: float = 0.0, num_items: Tensor | float | None = None
) -> Tensor | None:
    """(R, T, V) logits, (R, T) labels -> (): the mean loss, or the sum divided by ``num_items``. None without labels."""
    if labels is None:
        return None
    total = token_loss(logits, labels, label_smoothing)
    if num_items is None:
        return total.mean
    return total.sum / torch.as_tensor(num_items, device=total.sum.device).clamp(min=1)  # 0 if no label counts
