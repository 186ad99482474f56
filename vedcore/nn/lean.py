"""``lean``: a module without the overhead of ``nn.Module`` in Python, and with the products that few rows want.

Finding a submodule or a parameter by its name and calling a module cost about a microsecond each, and a decoding step makes
a hundred and fifty of them: a third of its time in a small model. A lean twin holds the same parameters and submodules as
plain attributes and calls ``forward`` at once. It is made for one call and thrown away, so it never gets old.

A decoding step multiplies few rows by large matrices, and ``F.linear`` is slow at that on many processors: the transposed
product W x^T reads the same weights two to four times as fast. Whether it does here is measured once.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)

LARGE = 2**18
"""Weights of a matrix from which the few-row product can pay for its two transpositions."""


def lean(module: M) -> M:
    """A twin of ``module`` that shares its tensors; a module with hooks or with a call of its own stays what it is."""
    if type(module).__call__ is not nn.Module.__call__ or _has_hooks(module):
        return module
    children = {name: child if child is None else lean(child) for name, child in module._modules.items()}
    kind: Any = FewRowLinear if _suits_few_rows(module) else _lean_class(type(module))  # type: ignore[arg-type]
    twin: M = object.__new__(kind)
    twin.__dict__.update(module.__dict__)
    for attributes in (module._parameters, module._buffers, children, {"_modules": children}):
        twin.__dict__.update(attributes)
    return twin


class FewRowLinear(nn.Linear):
    """The lean twin of a large linear layer: up to eight rows go the transposed way."""

    def __call__(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        rows = x.numel() // self.in_features
        if rows > 8 or rows == 0:
            return F.linear(x, self.weight, self.bias)
        return few_row_product(x.reshape(rows, self.in_features), self.weight, self.bias).view(*x.shape[:-1], -1)


def few_row_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(M, in) for M up to 8, (out, in) -> (M, out): what ``F.linear`` computes."""
    rows = x.shape[0]
    if rows == 1:
        x = torch.cat((x, x))  # a matrix product of two rows is faster than a matrix times a vector
    parts = [_transposed_product(part, weight, bias) for part in (x.split(4) if rows > 6 else (x,))]
    return parts[0][:rows].contiguous() if len(parts) == 1 else torch.cat(parts)


def _transposed_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.mm(weight, x.t()).t() if bias is None else torch.addmm(bias[:, None], weight, x.t()).t()


def _suits_few_rows(module: nn.Module) -> bool:
    if type(module) is not nn.Linear:
        return False
    weight = module.weight
    large = weight.device.type == "cpu" and weight.dtype == torch.float32 and weight.numel() >= LARGE
    return large and few_rows_pay()


@functools.cache
def few_rows_pay() -> bool:
    """Whether this processor multiplies one row and four rows faster the transposed way, by a fifth at least."""
    with torch.inference_mode():
        weights = [torch.ones(2048, 768) for _ in range(4)]  # more than a cache holds, as in a real model

        def seconds(product: Callable[[Tensor, Tensor, None], Tensor], rows: int) -> float:
            x = torch.ones(rows, 768)
            samples = []
            for _ in range(4):
                started = time.perf_counter()
                for weight in weights:
                    product(x, weight, None)
                samples.append(time.perf_counter() - started)
            return min(samples)

        return all(seconds(F.linear, rows) > 1.2 * seconds(few_row_product, rows) for rows in (1, 4))


@functools.cache
def _lean_class(kind: Any) -> Any:
    return type(kind.__name__, (kind,), {"__call__": kind.forward, "__module__": kind.__module__})


def _has_hooks(module: nn.Module) -> bool:
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or nn.modules.module._has_any_global_hook()  # type: ignore[no-untyped-call]
    )
