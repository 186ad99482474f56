"""Learned factors for the result of a branch. Shapes: D hidden size."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LayerScale(nn.Module):
    """A learned factor for each channel (Touvron et al., arXiv:2103.17239): BEiT, DINOv2."""

    def __init__(self, hidden_size: int, initial: float) -> None:
        """initial: the first value of each factor."""
        super().__init__()
        self.factor = nn.Parameter(torch.full((hidden_size,), initial))

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return x * self.factor
