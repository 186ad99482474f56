"""What training leaves out at random: single values, or a branch of the residual stream. Shapes: B images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def drop(x: Tensor, rate: float, training: bool) -> Tensor:
    """Dropout as a function: a block has many places for it, and outside training each costs next to nothing."""
    return F.dropout(x, rate) if training and rate else x


class DropPath(nn.Module):
    """In training, leave a residual branch out for a random share of the images (Huang et al., arXiv:1603.09382)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, ...), zero for the images that are left out, the others scaled up to keep the mean."""
        if not self.training or self.rate == 0.0:
            return x
        if self.rate == 1.0:
            return torch.zeros_like(x)
        keep = 1.0 - self.rate
        shape = (x.shape[0], *(1 for _ in x.shape[1:]))
        return x / keep * (torch.rand(shape, dtype=x.dtype, device=x.device) + keep).floor()
