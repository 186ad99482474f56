"""Dropout of values, of residual branches and of whole layers. Shapes: B images, R rows, T tokens, D hidden size."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def drop(x: Tensor, rate: float, training: bool) -> Tensor:
    """``x`` with dropout if ``training`` is true. A function, because it costs less per call than a module."""
    return F.dropout(x, rate) if training and rate else x


class DropPath(nn.Module):
    """Stochastic depth: in training, drop a residual branch for a random share of the images (arXiv:1603.09382)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, ...). Dropped images are zero, and the others are scaled up, so that the mean stays the same."""
        if not self.training or self.rate == 0.0:
            return x
        if self.rate == 1.0:
            return torch.zeros_like(x)
        keep = 1.0 - self.rate
        shape = (x.shape[0], *(1 for _ in x.shape[1:]))
        return x / keep * (torch.rand(shape, dtype=x.dtype, device=x.device) + keep).floor()


class LayerDrop:
    """A forward hook that in training skips a block in a random share of the passes (Fan et al., arXiv:1909.11556).

    It is a hook and not a wrapper, so the names of the weights do not change. A skipped block is computed, and then its output
    is replaced by its input. So no Python branch depends on the random number, and every weight gets a gradient, maybe zero.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, block: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        """The output (R, T, D) of the block, or its input."""
        if not block.training:
            return None
        return torch.where(torch.rand((), device=output.device) < self.rate, inputs[0], output)


def drop_layers(blocks: Iterable[nn.Module], rate: float) -> None:
    """Register a ``LayerDrop`` on each block. A rate of 0 registers nothing."""
    if rate:
        for block in blocks:
            block.register_forward_hook(LayerDrop(rate))
