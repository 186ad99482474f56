"""The product of a linear layer, by the library that is faster at it here.

torch multiplies float32 matrices on a CPU by MKL, which takes its AVX-512 kernels on processors of one maker alone. oneDNN,
which torch has for convolutions, takes them on all: on an AMD Zen 5 its products are twice as fast, forward and backward.
Whether it is faster is measured once in a process; where it is not, this is ``F.linear``.
Shapes: N rows (all dimensions but the last), I in, O out.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
    size = weight.numel()
    if size < LARGE and x.numel() // weight.shape[-1] * size < MANY:
        return F.linear(x, weight, bias)
    if not _is_for_onednn(x, weight, bias):
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
        and torch._C._functorch.peek_interpreter_stack() is None  # torch.func knows F.linear
        and not torch._C._len_torch_dispatch_stack()  # and so does a mode, such as one that counts operations
        and bool(torch.backends.mkldnn.enabled)
        and onednn_pays(torch.get_num_threads())
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


@functools.cache
def onednn_pays(threads: int) -> bool:
    """Whether oneDNN multiplies faster than MKL here, by a quarter at least, and the same.

    It is by twice or not at all, so that the answer is the same in each process: training is to resume bit by bit.
    """
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
                return False
            best = [float("inf")] * 2
            for _ in range(20):
                for index, call in enumerate(calls):
                    started = time.perf_counter()
                    call()
                    best[index] = min(best[index], time.perf_counter() - started)
    except (AttributeError, RuntimeError):  # the operator is torch's own, and may go
        return False
    return best[0] > 1.25 * best[1]
