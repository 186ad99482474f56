"""The product of a linear layer, by the library that is faster at it here.

torch multiplies float32 matrices on a CPU by MKL, which takes its AVX-512 kernels on processors of one maker alone. oneDNN,
which torch has for convolutions, takes them on all: on an AMD Zen 5 its products are twice as fast, forward and backward.
Whether it is faster is measured once in a process; where it is not, this is ``F.linear``.
Shapes: N rows (all dimensions but the last), I in, O out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad

LARGE = 2**18
"""Weights of a matrix from which even one row is multiplied faster: it is read from memory or a shared cache."""

MANY = 3 * 2**20
"""Multiplications from which the product by a small matrix outweighs the call, which takes some 15 microseconds more."""


class Linear(nn.Linear):
    """``nn.Linear``, whose product is ``linear``."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) -> (..., O)."""
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(..., I), (O, I), (O,) -> (..., O): ``F.linear``, of which it differs by rounding alone."""
    is_small = weight.numel() < LARGE and x.numel() * weight.shape[0] < MANY
    if is_small or not _is_for_onednn(x, weight, bias):
        return F.linear(x, weight, bias)
    if torch.is_grad_enabled() and (
        x.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)
    ):
        return _Product.apply(x, weight, bias)  # type: ignore[no-untyped-call, no-any-return]
    return _onednn(x, weight, bias)


def _is_for_onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Plain float32 on a CPU, nobody tracing, transforming or casting it, where it pays."""
    return (
        x.dtype is weight.dtype is torch.float32
        and x.device.type == weight.device.type == "cpu"
        and type(x) is Tensor
        and type(weight) in _PLAIN
        and (bias is None or (type(bias) in _PLAIN and bias.dtype is torch.float32))
        and x.numel() > 0
        and x.shape[-1:] == weight.shape[1:]
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch._C._get_tracing_state()
        and forward_ad._current_level < 0
        and torch._C._functorch.peek_interpreter_stack() is None  # torch.func knows F.linear
        and not torch._C._len_torch_dispatch_stack()  # and so does a mode, such as one that counts operations
        and bool(torch.backends.mkldnn.enabled)
        and onednn_pays()
    )


_PLAIN = (Tensor, nn.Parameter)


class _Product(torch.autograd.Function):
    """Forward one product, backward two."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return _onednn(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, weight, _ = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        rows, gradients = x.reshape(-1, x.shape[-1]), gradient.reshape(-1, gradient.shape[-1])
        return (
            linear(gradient, weight.t()) if of_x else None,
            _outer(gradients, rows) if of_weight else None,
            gradients.sum(dim=0) if of_bias else None,
        )


def _outer(gradients: Tensor, rows: Tensor) -> Tensor:
    """(N, O), (N, I) -> (O, I), the sum of the outer products: oneDNN is faster with the longer side last."""
    if gradients.shape[1] > rows.shape[1]:
        return linear(rows.t(), gradients.t()).t()
    return linear(gradients.t(), rows.t())


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    rows = x if x.dim() == 2 else x.reshape(-1, x.shape[-1])
    product: Tensor = torch.ops.mkldnn._linear_pointwise(_dense(rows), _dense(weight), bias, "none", [], "")
    return product.view(*x.shape[:-1], -1)


def _dense(matrix: Tensor) -> Tensor:
    """The same, by rows or by columns without gaps."""
    return matrix if matrix.is_contiguous() or matrix.t().is_contiguous() else matrix.contiguous()


_decided: dict[int, bool] = {}


def onednn_pays() -> bool:
    """Whether oneDNN multiplies the same as MKL here and faster, by a quarter at least: measured once in a process."""
    threads = torch.get_num_threads()
    if threads not in _decided:
        _decided[threads] = _gain() > 1.25
    return _decided[threads]


def decide(pays: bool) -> None:
    """Take this for the answer from now on, if oneDNN can be asked at all: a run that is resumed rounds as it did."""
    _decided[torch.get_num_threads()] = pays and _gain() > 0


def _gain() -> float:
    """The time of MKL's product over that of oneDNN's, each at its best of twenty in turn; 0 where that is wrong or none."""
    try:
        product = torch.ops.mkldnn._linear_pointwise
        with torch.inference_mode():
            x, weight = torch.linspace(-1, 1, 2**16).view(256, 256), torch.linspace(2, -1, 2**16).view(256, 256)
            calls: tuple[Callable[[], Tensor], ...] = (
                lambda: F.linear(x, weight),
                lambda: product(x, weight, None, "none", [], ""),
            )
            usual, other = (call() for call in calls)
            if not torch.allclose(usual, other, rtol=1e-4, atol=1e-4):
                return 0.0
            best = [float("inf")] * 2
            for _ in range(20):
                for index, call in enumerate(calls):
                    started = time.perf_counter()
                    call()
                    best[index] = min(best[index], time.perf_counter() - started)
    except (AttributeError, RuntimeError):  # the operator is torch's own, and may go
        return 0.0
    return best[0] / best[1]
