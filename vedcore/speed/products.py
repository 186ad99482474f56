"""Products of a matrix and a batch of rows: the ways to compute one, and the rules that choose among them.

torch multiplies float32 matrices on a CPU by MKL, which uses its AVX-512 kernels only on Intel's processors. oneDNN, which
torch has for convolutions, uses them on all: on an AMD Zen 5 its products are twice as fast, forward and backward. The choice
follows rules and is never measured, because a training run must resume bit for bit, however busy the machine is.
Shapes: N rows (all dimensions but the last), I in, O out.
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad

LARGE = 2**18
"""The number of weights from which a matrix is read from memory or a shared cache, so that one row is already faster."""

MANY = 3 * 2**20
"""The number of multiplications from which the product outweighs a call of oneDNN, which takes about 15 microseconds more."""

WIDE = 192
"""The number of rows from which the product is computed as a convolution, which first brings the matrix into its own form."""

Product = Callable[[Tensor], Tensor]
"""(..., I) -> (..., O)."""


class Way(NamedTuple):
    """One way to compute x W^T + b.

    applies: called with x, the weight and the bias. build: called with the weight and the bias, returns the product.
    """

    name: str
    applies: Callable[[Tensor, Tensor, Tensor | None], bool]
    build: Callable[[Tensor, Tensor | None], Product]


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(..., I), (O, I), (O,) -> (..., O): ``F.linear``, from which it differs only by rounding."""
    if is_small(x, weight):  # the common case of a small model's step, without a loop
        return F.linear(x, weight, bias)
    way = next(way for way in WAYS if way.applies(x, weight, bias))
    return way.build(weight, bias)(x)


def prepared(weight: Tensor, bias: Tensor | None = None) -> Product:
    """The product by a matrix that does not change any more, for use without gradients. Each way is built at most once."""
    few = 0 if weight.numel() >= LARGE else -(-MANY // max(1, weight.shape[0]))  # values of x up to which it is small
    built: dict[str, Product] = {}

    def product(x: Tensor) -> Tensor:
        if x.numel() < few:
            return F.linear(x, weight, bias)
        way = next(way for way in WAYS if way.applies(x, weight, bias))
        if way.name not in built:
            built[way.name] = way.build(weight, bias)
        return built[way.name](x)

    return product


def is_small(x: Tensor, weight: Tensor) -> bool:
    """Whether a product is too small for any other way than ``F.linear``."""
    return weight.numel() < LARGE and x.numel() * weight.shape[0] < MANY


def _learns(*tensors: Tensor | None) -> bool:
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


def _is_wide(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    return x.numel() >= WIDE * weight.shape[-1] and _is_for_onednn(x, weight, bias)


def _is_narrow(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    return not _learns(x, weight, bias) and _is_for_onednn(x, weight, bias)


def _build_wide(weight: Tensor, bias: Tensor | None) -> Product:
    def product(x: Tensor) -> Tensor:
        if _learns(x, weight, bias):
            return _WideProduct.apply(x, weight, bias)  # type: ignore[no-untyped-call, no-any-return]
        return _wide(x, weight, bias)

    return product


WAYS = (
    Way("small", lambda x, weight, bias: is_small(x, weight), lambda weight, bias: lambda x: F.linear(x, weight, bias)),
    Way("convolution", _is_wide, _build_wide),
    Way("inner product", _is_narrow, lambda weight, bias: lambda x: _narrow(x, weight, bias)),
    Way("plain", lambda x, weight, bias: True, lambda weight, bias: lambda x: F.linear(x, weight, bias)),
)
"""Tried in order; the first that applies is used."""


def _is_for_onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether x, weight and bias are plain float32 on a CPU where oneDNN pays, and nothing traces or transforms the call."""
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
        and not torch._C._len_torch_dispatch_stack()  # so does a mode, such as one that counts operations
        and bool(torch.backends.mkldnn.enabled)
        and onednn_pays()
    )


_PLAIN = (Tensor, torch.nn.Parameter)


class _WideProduct(torch.autograd.Function):
    """The forward pass is one convolution; the backward pass one for the gradient of x, and one for that of a small weight.

    MKL computes the gradient of a large weight, for which the convolution is sometimes slower.
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
        images = _as_image(gradient), _as_image(x), weight[:, :, None, None]
        shape = None, (1, 1), (0, 0), (1, 1), False, (0, 0), 1
        wanted = (of_x, of_kernel, False)
        to_x, to_kernel, _ = torch.ops.aten.convolution_backward(*images, *shape, wanted)
        to_weight = to_kernel[:, :, 0, 0] if of_kernel else rows.t() @ x.reshape(-1, x.shape[-1]) if of_weight else None
        return _as_rows(to_x).view(x.shape) if of_x else None, to_weight, rows.sum(dim=0) if of_bias else None


def _wide(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The product as a convolution with a kernel of one pixel."""
    product = torch.mkldnn_convolution(_as_image(x), weight[:, :, None, None], bias, (0, 0), (1, 1), (1, 1), 1)
    return _as_rows(product).view(*x.shape[:-1], -1)


def _as_image(x: Tensor) -> Tensor:
    """(..., C) -> (B, C, T, 1), the channels last in memory."""
    images = x if x.dim() == 3 else x.reshape(1, -1, x.shape[-1])
    return images.contiguous()[:, :, None].permute(0, 3, 1, 2)


def _as_rows(image: Tensor) -> Tensor:
    """(B, C, T, 1) -> (B, T, C), in the order of the memory."""
    return image[..., 0].transpose(1, 2).contiguous()


def _narrow(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The product that reads the matrix in place.

    For each number of rows oneDNN keeps half a megabyte, so more than eight rows are padded to a multiple of eight.
    """
    rows = x.reshape(-1, x.shape[-1])
    count = len(rows)
    if count > 8 and count % 8:
        rows = torch.cat([rows, rows[: -count % 8]])  # their results are dropped
    weight = weight if weight.is_contiguous() or weight.t().is_contiguous() else weight.contiguous()
    product: Tensor = torch.ops.mkldnn._linear_pointwise(rows.contiguous(), weight, bias, "none", [], "")
    return product[:count].view(*x.shape[:-1], -1)


@functools.cache
def onednn_pays() -> bool:
    """Whether this processor is AMD's and has AVX-512, and oneDNN computes the same as MKL here."""
    has_mkl = torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
    if not (has_mkl and torch.backends.cpu.get_cpu_capability() == "AVX512" and _is_amd()):
        return False
    x, weight = torch.linspace(-1, 1, 2**12).view(64, 64), torch.linspace(2, -1, 2**12).view(64, 64)
    try:
        with torch.inference_mode():
            usual = F.linear(x, weight)
            return all(torch.allclose(usual, product(x, weight, None), atol=1e-4) for product in (_wide, _narrow))
    except (AttributeError, RuntimeError):  # the operators are private to torch and may disappear
        return False


def _is_amd() -> bool:
    try:
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:  # not Linux
        return "AuthenticAMD" in platform.processor()
