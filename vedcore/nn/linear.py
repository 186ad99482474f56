"""A linear layer that uses the fastest matrix product on this machine. Shapes: I inputs, O outputs."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from vedcore.speed.products import linear


class Linear(nn.Linear):
    """``nn.Linear`` that computes its product with ``vedcore.speed.products.linear``."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) -> (..., O)."""
        return linear(x, self.weight, self.bias)


LINEAR_FORWARDS = (nn.Linear.forward, Linear.forward)
"""The ``forward`` methods that compute x W^T + b and nothing else."""


def is_plain(layer: nn.Module) -> bool:
    """Whether calling ``layer`` computes x W^T + b and nothing else, so that its weight can be used directly.

    A replacement (packed, int8, LoRA), a subclass with its own ``forward``, and a layer with hooks are not plain.
    """
    kind: Any = type(layer)
    hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)
    return kind.forward in LINEAR_FORWARDS and "forward" not in layer.__dict__ and not any(hooks)
