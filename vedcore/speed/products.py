"""The product of a linear layer, by the library that is faster at it here.

torch multiplies float32 matrices on a CPU by MKL, which takes its AVX-512 kernels on Intel's processors alone. oneDNN, which
torch has for convolutions, takes them on all: on an AMD Zen 5 its products are twice as fast, forward and backward. On any
other processor than an AMD with AVX-512 this is ``F.linear``.
Shapes: N rows (all dimensions but the last), I in, O out.
"""

from __future__ import annotations

import functools
import platform
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad

LARGE = 2**18
"""Weights of a matrix from which even one row is multiplied faster: it is read from memory or a shared cache."""

MANY = 3 * 2**20
"""Multiplications from which the product by a small matrix outweighs the call, which takes some 15 microseconds more."""

WIDE = 192
"""Rows from which the product is a convolution: it first brings the matrix into a form of its own."""


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(..., I), (O, I), (O,) -> (..., O): ``F.linear``, of which it differs by rounding alone."""
    if weight.numel() < LARGE and x.numel() * weight.shape[0] < MANY:
        return F.linear(x, weight, bias)
    is_wide = x.numel() >= WIDE * weight.shape[-1]
    learns = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, weight, bias))
    if (learns and not is_wide) or not _is_for_onednn(x, weight, bias):
        return F.linear(x, weight, bias)
    if learns:
        return _WideProduct.apply(x, weight, bias)  # type: ignore[no-untyped-call, no-any-return]
    return (_wide if is_wide else _narrow)(x, weight, bias)


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


class _WideProduct(torch.autograd.Function):
    """Forward one convolution; backward one for the gradient of x, and one for that of a small weight.

    MKL makes that of a large weight, for which the convolution is at times the slower.
    """

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return _wide(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, weight, _ = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        rows = gradient.reshape(-1, len(weight))
        of_kernel = of_weight and weight.numel() < LARGE
        pictures = _picture(gradient), _picture(x), weight[:, :, None, None]
        shape = None, (1, 1), (0, 0), (1, 1), False, (0, 0), 1
        asked = (of_x, of_kernel, False)
        to_x, to_kernel, _ = torch.ops.aten.convolution_backward(*pictures, *shape, asked)
        to_weight = to_kernel[:, :, 0, 0] if of_kernel else rows.t() @ x.reshape(-1, x.shape[-1]) if of_weight else None
        return _rows(to_x).view(x.shape) if of_x else None, to_weight, rows.sum(dim=0) if of_bias else None


def _wide(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A convolution by a kernel of one place."""
    product = torch.mkldnn_convolution(_picture(x), weight[:, :, None, None], bias, (0, 0), (1, 1), (1, 1), 1)
    return _rows(product).view(*x.shape[:-1], -1)


def _picture(x: Tensor) -> Tensor:
    """(..., C) -> (B, C, T, 1), the channels last in memory."""
    images = x if x.dim() == 3 else x.reshape(1, -1, x.shape[-1])
    return images.contiguous()[:, :, None].permute(0, 3, 1, 2)


def _rows(picture: Tensor) -> Tensor:
    """(B, C, T, 1) -> (B, T, C), as it lies in memory."""
    return picture[..., 0].transpose(1, 2).contiguous()


def _narrow(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The product that reads the matrix as it is.

    For each number of rows oneDNN keeps half a megabyte, so beyond eight they are filled up to a multiple of eight.
    """
    rows = x.reshape(-1, x.shape[-1])
    count = len(rows)
    if count > 8 and count % 8:
        rows = torch.cat([rows, rows[: -count % 8]])  # what they hold is cut off again
    weight = weight if weight.is_contiguous() or weight.t().is_contiguous() else weight.contiguous()
    product: Tensor = torch.ops.mkldnn._linear_pointwise(rows.contiguous(), weight, bias, "none", [], "")
    return product[:count].view(*x.shape[:-1], -1)


@functools.cache
def onednn_pays() -> bool:
    """Whether this processor is AMD's and has AVX-512, and oneDNN multiplies here as MKL does.

    A rule and not a measurement: the same in every process and thread, however busy the machine, for a run is to resume
    bit by bit.
    """
    has_mkl = torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
    if not (has_mkl and torch.backends.cpu.get_cpu_capability() == "AVX512" and _is_amd()):
        return False
    x, weight = torch.linspace(-1, 1, 2**12).view(64, 64), torch.linspace(2, -1, 2**12).view(64, 64)
    try:
        with torch.inference_mode():
            usual = F.linear(x, weight)
            return all(torch.allclose(usual, product(x, weight, None), atol=1e-4) for product in (_wide, _narrow))
    except (AttributeError, RuntimeError):  # the operators are torch's own, and may go
        return False


def _is_amd() -> bool:
    try:
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:  # no Linux
        return "AuthenticAMD" in platform.processor()
