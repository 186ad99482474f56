"""The MLP of a block, and the activation functions by their names in config.json. Shapes: R rows, T tokens, D hidden size."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vedcore.errors import ConfigError
from vedcore.nn.dropout import drop
from vedcore.nn.linear import Linear


def gelu_tanh(x: Tensor) -> Tensor:
    """The tanh approximation of GELU (Hendrycks & Gimpel, arXiv:1606.08415)."""
    return F.gelu(x, approximate="tanh")


def quick_gelu(x: Tensor) -> Tensor:
    """x sigmoid(1.702 x), from the same paper."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_fast": gelu_tanh,
    "gelu_new": gelu_tanh,
    "gelu_python": F.gelu,
    "gelu_pytorch_tanh": gelu_tanh,
    "leaky_relu": F.leaky_relu,
    "mish": F.mish,
    "quick_gelu": quick_gelu,
    "relu": F.relu,
    "relu6": F.relu6,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "swish": F.silu,
    "tanh": torch.tanh,
}


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """The activation function ``name``. Raises ConfigError for an unknown name."""
    if name not in ACTIVATIONS:
        raise ConfigError(
            f"no activation named {name!r}; the known names are {', '.join(ACTIVATIONS)}",
            field="activation",
            expected=[*ACTIVATIONS],
            found=name,
        )
    return ACTIVATIONS[name]


class MLP(nn.Module):
    """Linear layer, activation, linear layer."""

    def __init__(
        self, hidden_size: int, intermediate_size: int, act: str, *, inner_dropout: float = 0.0, dropout: float = 0.0
    ) -> None:
        """act: a name in ``ACTIVATIONS``. inner_dropout: the rate after the activation (BART). dropout: after the second layer
        (DistilBERT). Raises ConfigError for an unknown activation.
        """
        super().__init__()
        self.up = Linear(hidden_size, intermediate_size)
        self.act = activation(act)
        self.down = Linear(intermediate_size, hidden_size)
        self.inner_dropout, self.dropout = inner_dropout, dropout

    def forward(self, x: Tensor) -> Tensor:
        """(R, T, D) -> (R, T, D)."""
        x = drop(self.act(self.up(x)), self.inner_dropout, self.training)
        return drop(self.down(x), self.dropout, self.training)


class GatedMLP(nn.Module):
    """down(act(gate(x)) up(x)): the MLP of Llama, and of DINOv2's largest model (Shazeer, arXiv:2002.05202)."""

    def __init__(self, hidden_size: int, intermediate_size: int, act: str, *, bias: bool = False) -> None:
        """act: a name in ``ACTIVATIONS``. bias: whether the layers have one. Raises ConfigError for an unknown activation."""
        super().__init__()
        self.gate = Linear(hidden_size, intermediate_size, bias=bias)
        self.up = Linear(hidden_size, intermediate_size, bias=bias)
        self.act = activation(act)
        self.down = Linear(intermediate_size, hidden_size, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(R, T, D) -> (R, T, D)."""
        return self.down(self.act(self.gate(x)) * self.up(x))  # type: ignore[no-any-return]
