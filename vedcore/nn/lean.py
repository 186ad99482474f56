"""``lean``: a module without the overhead of ``nn.Module`` in Python, and with the products that few rows want.

Finding a submodule or a parameter by its name and calling a module cost about a microsecond each, and a decoding step makes
a hundred and fifty of them: a third of its time in a small model. A lean twin holds the same parameters and submodules as
plain attributes, and to call it is to call its ``forward``. ``Twin`` keeps one from call to call, for as long as nothing
that it was made from is another object: no module, parameter, buffer, attribute, hook or ``forward``.

A decoding step multiplies few rows by large matrices, and ``F.linear`` is slow at that on many processors: the transposed
product W x^T reads the same weights two to four times as fast. Whether it does here is measured once.
"""

from __future__ import annotations

import functools
import operator
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)

LARGE = 2**18
"""Weights of a matrix from which the few-row product can pay for its two transpositions."""

SAMPLE = 2**27
"""Bytes of weights on which it is measured whether it does, of a model that has as many."""


def lean(module: M) -> M:
    """A twin of ``module`` that shares its tensors; a module with hooks or with a call of its own stays what it is.

    A module that has ``make_lean()`` has it called on its twin before each use, to prepare what pays for one call.
    """
    if nn.modules.module._has_any_global_hook():  # type: ignore[no-untyped-call]
        return module
    large = [part for part in module.modules() if type(part) is nn.Linear and _is_large(part)]
    return _twin(module, few_rows_pay(large))  # type: ignore[no-any-return]


def _twin(module: Any, few_rows: bool) -> Any:
    kind: Any = type(module)
    if kind.__call__ is not nn.Module.__call__ or "forward" in module.__dict__ or _is_watched(module):
        return module
    children = module._modules
    if children:
        children = {name: child if child is None else _twin(child, few_rows) for name, child in children.items()}
    few = few_rows and kind is nn.Linear and _is_large(module)
    leaf = _LEAVES.get(kind.forward)
    twin = object.__new__(FewRowLinear if few else _lean_class(kind, leaf.call if leaf else kind.forward))
    twin.__dict__ = {**module.__dict__, **module._parameters, **module._buffers, **children, "_modules": children}
    if hasattr(kind, "make_lean"):
        twin.make_lean()
    return twin


def is_plain(layer: nn.Module) -> bool:
    """Whether ``layer`` is a linear layer of torch's and no more: its weight may be used without calling it."""
    kind = type(layer)  # a lean twin's class has the forward of its parent
    hooks = layer._backward_hooks or layer._backward_pre_hooks
    return (
        kind.forward is nn.Linear.forward and "forward" not in layer.__dict__ and not _is_watched(layer) and not hooks
    )


def _is_watched(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


class Twin:
    """The lean twin of one module, made when it is first asked for and again when the module has changed."""

    def __init__(self) -> None:
        self._twin: Any = None
        self._seen = _Snapshot(())

    def of(self, module: M) -> M:
        """The twin of ``module`` as it is now."""
        if nn.modules.module._has_any_global_hook():  # type: ignore[no-untyped-call]
            return module
        if self._twin is None or not self._seen.is_current():
            self._twin = lean(module)
            self._seen = _Snapshot(module.modules())
            self._prepared = [part for part in self._twin.modules() if hasattr(part, "make_lean")]
        elif self._twin is not module:
            for part in self._prepared:
                part.make_lean()
        return self._twin  # type: ignore[no-any-return]

    def __deepcopy__(self, memo: Any) -> Twin:
        return Twin()

    def __reduce__(self) -> tuple[type[Twin], tuple[()]]:
        return Twin, ()


class _Snapshot:
    """The objects that modules are made of: parameters, buffers, submodules, attributes; and how many, and their hooks.

    It is looked through at every call of a model whose steps take a quarter of a millisecond: one pass, none of it in
    Python's own loop, over what a twin reads and no more.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        parts = list(modules)
        self._kinds = list({type(part) for part in parts})
        self._forwards = [kind.forward for kind in self._kinds]
        entries: list[tuple[dict[str, Any], str, Any]] = []
        self._sized: list[Any] = []
        for part in parts:
            leaf = _LEAVES.get(type(part).forward)
            own = part.__dict__
            read = own.keys() - _BOOKKEEPING if leaf is None else leaf.reads
            entries += [(own, name, own.get(name)) for name in read]
            for held in (part._parameters, part._buffers, part._modules):
                entries += [(held, name, value) for name, value in held.items()]
            self._sized += [own, part._forward_hooks, part._forward_pre_hooks]
            if leaf is None:
                self._sized += [part._parameters, part._buffers, part._modules]
        self._sizes = list(map(len, self._sized))
        self._entries = tuple(zip(*entries, strict=True)) or ((), (), ())

    def is_current(self) -> bool:
        """Whether all of it is still there, and nothing else."""
        holders, names, values = self._entries
        return (
            list(map(len, self._sized)) == self._sizes
            and all(map(operator.is_, map(dict.get, holders, names), values))
            and [kind.forward for kind in self._kinds] == self._forwards
        )


_BOOKKEEPING = frozenset(nn.Module().__dict__) - {"training"}


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
    parts = [_transposed_product(part, weight, bias) for part in ((x[:4], x[4:]) if rows > 6 else (x,))]
    return parts[0][:rows].contiguous() if len(parts) == 1 else torch.cat(parts)


def _transposed_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.mm(weight, x.t()).t() if bias is None else torch.addmm(bias[:, None], weight, x.t()).t()


def _is_large(linear: nn.Linear) -> bool:
    weight = linear.weight
    return weight.numel() >= LARGE and weight.dtype == torch.float32 and weight.device.type == "cpu"


_measured: dict[tuple[Any, ...], bool] = {}


def few_rows_pay(linears: Sequence[Any]) -> bool:
    """Whether one row and four rows go through these layers faster the transposed way, by a tenth at least.

    Measured once for layers of these sizes in a process, on the layers themselves: 0.15 s for a base-sized model.
    """
    key = (torch.get_num_threads(), *sorted({(layer.in_features, layer.out_features) for layer in linears}))
    if linears and key not in _measured:
        # Together more than a cache holds, where the model is: from a cache the one is as fast as the other.
        size = sum(4 * layer.weight.numel() for layer in linears)
        sample = linears[:: max(1, size // SAMPLE)]
        _measured[key] = all(_gain(sample, rows) > 1.1 for rows in (1, 4))
    return bool(linears) and _measured[key]


def _gain(linears: Sequence[Any], rows: int) -> float:
    """The time of ``F.linear`` over that of the transposed product, each layer at its best of four in turn."""
    products: tuple[Callable[..., Tensor], ...] = (F.linear, few_row_product)
    best = [[float("inf")] * len(linears) for _ in products]
    with torch.inference_mode():
        for _ in range(4):
            for product, times in zip(products, best, strict=True):
                for index, layer in enumerate(linears):
                    x = torch.ones(rows, layer.in_features)
                    started = time.perf_counter()
                    product(x, layer.weight, layer.bias)
                    times[index] = min(times[index], time.perf_counter() - started)
    usual, transposed = map(sum, best)
    return usual / transposed


@functools.cache
def _lean_class(kind: Any, call: Any) -> Any:
    return type(kind.__name__, (kind,), {"__call__": call, "__module__": kind.__module__})


def _linear(self: Any, x: Tensor) -> Tensor:
    return F.linear(x, self.weight, self.bias)


def _layer_norm(self: Any, x: Tensor) -> Tensor:
    return torch.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)


def _embedding(self: Any, ids: Tensor) -> Tensor:
    return torch.embedding(self.weight, ids) if self.max_norm is None else nn.Embedding.forward(self, ids)


def _dropout(self: Any, x: Tensor) -> Tensor:
    return F.dropout(x, self.p) if self.training else x


class _Leaf(NamedTuple):
    """What takes the place of a ``forward`` of torch's own, which checks at each call what cannot change while a twin lives.

    reads: the attributes, beside parameters, that it depends on.
    """

    call: Callable[..., Tensor]
    reads: tuple[str, ...]


_LEAVES: dict[Any, _Leaf] = {
    nn.Linear.forward: _Leaf(_linear, ()),
    nn.LayerNorm.forward: _Leaf(_layer_norm, ("normalized_shape", "eps")),
    nn.Embedding.forward: _Leaf(_embedding, ("max_norm",)),
    nn.Dropout.forward: _Leaf(_dropout, ("p", "training")),
}
