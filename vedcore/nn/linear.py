"""A linear layer whose product is computed in the way that is fastest on this machine."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from vedcore.speed.products import linear


class Linear(nn.Linear):
    """``nn.Linear``, whose product is ``vedcore.speed.products.linear``."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) -> (..., O)."""
        return linear(x, self.weight, self.bias)


LINEAR_FORWARDS = (nn.Linear.forward, Linear.forward)


def is_plain(layer: nn.Module) -> bool:
    """Whether ``layer`` is a linear layer and nothing more, so that its weight may be used without calling it.

    A replacement (packed, int8, LoRA), a subclass with its own ``forward``, and a layer with hooks are not plain.
    """
    kind: Any = type(layer)
    hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)
    return kind.forward in LINEAR_FORWARDS and "forward" not in layer.__dict__ and not any(hooks)
