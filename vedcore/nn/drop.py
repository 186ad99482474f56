"""Stochastic depth. Shapes: B images."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DropPath(nn.Module):
    """In training, leave a residual branch out for a random share of the images (Huang et al., arXiv:1603.09382)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, ...), zero for the images that are left out, the others scaled up to keep the mean."""
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        shape = (x.shape[0], *(1 for _ in x.shape[1:]))
        return x / keep * (torch.rand(shape, dtype=x.dtype, device=x.device) + keep).floor()
