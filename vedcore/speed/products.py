"""Products of rows and a weight matrix: the implementations, and the rules that select one.

torch multiplies float32 matrices on a CPU with MKL, which uses its AVX-512 kernels only on Intel's processors. oneDNN, which
torch uses for convolutions, has such kernels for all processors: on an AMD Zen 5 its products are twice as fast, forward and
backward. The selection follows fixed rules and not measurements, because a resumed training run must be bitwise identical.
Shapes: I inputs, O outputs.
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

LARGE_WEIGHT = 2**18
"""The number of weights from which oneDNN is faster even for one row, because the matrix does not fit a core's own cache."""

ONEDNN_MULTIPLICATIONS = 3 * 2**20
"""The number of multiplications from which oneDNN is faster although its call takes about 15 microseconds longer."""

CONVOLUTION_ROWS = 192
"""The number of rows from which the product is computed as a convolution, which first reorders the matrix."""

Product = Callable[[Tensor], Tensor]
"""(..., I) -> (..., O)."""


class Method(NamedTuple):
    """An implementation of x W^T + b.

    applies: (x, weight, bias) -> whether it can be used. build: (weight, bias) -> the product as a function of x.
    """

    name: str
    applies: Callable[[Tensor, Tensor, Tensor | None], bool]
    build: Callable[[Tensor, Tensor | None], Product]


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(..., I) x, (O, I) weight, (O,) bias -> (..., O): equal to ``F.linear`` except for rounding."""
    if is_small(x, weight):  # the common case in a small model, without the loop
        return F.linear(x, weight, bias)
    method = next(method for method in METHODS if method.applies(x, weight, bias))
    return method.build(weight, bias)(x)


def prepared(weight: Tensor, bias: Tensor | None = None) -> Product:
    """The product with a (O, I) weight that no longer changes, without gradients. Each method is built at most once."""
    # The size of x below which the product is small.
    limit = 0 if weight.numel() >= LARGE_WEIGHT else -(-ONEDNN_MULTIPLICATIONS // max(1, weight.shape[0]))
    built: dict[str, Product] = {}

    def product(x: Tensor) -> Tensor:
        if x.numel() < limit:
            return F.linear(x, weight, bias)
        method = next(method for method in METHODS if method.applies(x, weight, bias))
        if method.name not in built:
            built[method.name] = method.build(weight, bias)
        return built[method.name](x)

    return product


def is_small(x: Tensor, weight: Tensor) -> bool:
    """Whether the product is so small that ``F.linear`` is the fastest method."""
    return weight.numel() < LARGE_WEIGHT and x.numel() * weight.shape[0] < ONEDNN_MULTIPLICATIONS


def _needs_gradient(*tensors: Tensor | None) -> bool:
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


def _convolution_applies(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    return x.numel() >= CONVOLUTION_ROWS * weight.shape[-1] and _onednn_applies(x, weight, bias)


def _inner_product_applies(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    return not _needs_gradient(x, weight, bias) and _onednn_applies(x, weight, bias)


def _build_convolution(weight: Tensor, bias: Tensor | None) -> Product:
    def product(x: Tensor) -> Tensor:
        if _needs_gradient(x, weight, bias):
            return _Convolution.apply(x, weight, bias)  # type: ignore[no-untyped-call, no-any-return]
        return _convolution(x, weight, bias)

    return product


METHODS = (
    Method(
        "small", lambda x, weight, bias: is_small(x, weight), lambda weight, bias: lambda x: F.linear(x, weight, bias)
    ),
    Method("convolution", _convolution_applies, _build_convolution),
    Method("inner product", _inner_product_applies, lambda weight, bias: lambda x: _inner_product(x, weight, bias)),
    Method("plain", lambda x, weight, bias: True, lambda weight, bias: lambda x: F.linear(x, weight, bias)),
)
"""The first method that applies is used."""


def _onednn_applies(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether oneDNN is faster and can be used: plain float32 tensors on a CPU, and nothing traces or transforms the call."""
    return (
        x.dtype is weight.dtype is torch.float32
        and x.device.type == weight.device.type == "cpu"
        and type(x) is Tensor
        and type(weight) in _TENSOR_TYPES
        and (bias is None or (type(bias) in _TENSOR_TYPES and bias.dtype is torch.float32))
        and x.numel() > 0
        and x.shape[-1:] == weight.shape[1:]
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch._C._get_tracing_state()
        and forward_ad._current_level < 0
        and torch._C._functorch.peek_interpreter_stack()
        is None  # torch.func transforms only known functions such as F.linear
        and not torch._C._len_torch_dispatch_stack()  # as do modes, such as one that counts operations
        and bool(torch.backends.mkldnn.enabled)
        and onednn_is_faster()
    )


_TENSOR_TYPES = (Tensor, torch.nn.Parameter)


class _Convolution(torch.autograd.Function):
    """The product as a convolution, with a backward pass of convolutions.

    The gradient of a large weight is a plain product, because a convolution is sometimes slower.
    """

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return _convolution(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, weight, _ = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        rows = gradient.reshape(-1, len(weight))
        of_kernel = of_weight and weight.numel() < LARGE_WEIGHT
        images = _as_image(gradient), _as_image(x), weight[:, :, None, None]
        shape = None, (1, 1), (0, 0), (1, 1), False, (0, 0), 1
        wanted = (of_x, of_kernel, False)
        to_x, to_kernel, _ = torch.ops.aten.convolution_backward(*images, *shape, wanted)
        to_weight = to_kernel[:, :, 0, 0] if of_kernel else rows.t() @ x.reshape(-1, x.shape[-1]) if of_weight else None
        return _as_rows(to_x).view(x.shape) if of_x else None, to_weight, rows.sum(dim=0) if of_bias else None


def _convolution(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The product as a convolution with a kernel of 1 x 1 pixel."""
    product = torch.mkldnn_convolution(_as_image(x), weight[:, :, None, None], bias, (0, 0), (1, 1), (1, 1), 1)
    return _as_rows(product).view(*x.shape[:-1], -1)


def _as_image(x: Tensor) -> Tensor:
    """(B, T, C) -> (B, C, T, 1), with channels last in memory. Other shapes (..., C) become one image of all rows."""
    images = x if x.dim() == 3 else x.reshape(1, -1, x.shape[-1])
    return images.contiguous()[:, :, None].permute(0, 3, 1, 2)


def _as_rows(image: Tensor) -> Tensor:
    """(B, C, T, 1) -> (B, T, C), contiguous."""
    return image[..., 0].transpose(1, 2).contiguous()


def _inner_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The product as oneDNN's inner product, which does not reorder the matrix.

    oneDNN keeps half a megabyte for each number of rows, so more than eight rows are padded to a multiple of eight.
    """
    rows = x.reshape(-1, x.shape[-1])
    count = len(rows)
    if count > 8 and count % 8:
        rows = torch.cat([rows, rows[: -count % 8]])  # the results of the padding are dropped
    weight = weight if weight.is_contiguous() or weight.t().is_contiguous() else weight.contiguous()
    product: Tensor = torch.ops.mkldnn._linear_pointwise(rows.contiguous(), weight, bias, "none", [], "")
    return product[:count].view(*x.shape[:-1], -1)


@functools.cache
def onednn_is_faster() -> bool:
    """Whether oneDNN is faster here: an AMD processor with AVX-512, where torch uses MKL. Its results must equal MKL's."""
    has_mkl = torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
    if not (has_mkl and torch.backends.cpu.get_cpu_capability() == "AVX512" and _is_amd()):
        return False
    x, weight = torch.linspace(-1, 1, 2**12).view(64, 64), torch.linspace(2, -1, 2**12).view(64, 64)
    try:
        with torch.inference_mode():
            expected = F.linear(x, weight)
            return all(
                torch.allclose(expected, product(x, weight, None), atol=1e-4)
                for product in (_convolution, _inner_product)
            )
    except (AttributeError, RuntimeError):  # the operators are private to torch and may disappear
        return False


def _is_amd() -> bool:
    try:
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:  # not Linux
        return "AuthenticAMD" in platform.processor()
