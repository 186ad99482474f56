"""``lean``: a module without the overhead of ``nn.Module`` in Python.

Finding a submodule or a parameter by its name and calling a module cost about a microsecond each, and a decoding step makes
a hundred and fifty of them: a third of its time in a small model. A lean twin holds the same parameters and submodules as
plain attributes, and to call it is to call its ``forward``. ``Twin`` keeps one from call to call, for as long as nothing
that it was made from is another object: no module, parameter, buffer, attribute, hook or ``forward``.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vedcore.nn.linear import Linear
from vedcore.speed.products import LARGE, MANY, linear

M = TypeVar("M", bound=nn.Module)


def lean(module: M) -> M:
    """A twin of ``module`` that shares its tensors; a module with hooks or with a call of its own stays what it is.

    A module that has ``make_lean()`` has it called on its twin before each use, to prepare what pays for one call.
    """
    if nn.modules.module._has_any_global_hook():  # type: ignore[no-untyped-call]
        return module
    return _twin(module)  # type: ignore[no-any-return]


def _twin(module: Any) -> Any:
    kind: Any = type(module)
    if kind.__call__ is not nn.Module.__call__ or "forward" in module.__dict__ or _is_watched(module):
        return module
    children = module._modules
    if children:
        children = {name: child if child is None else _twin(child) for name, child in children.items()}
    leaf = _LEAVES.get(kind.forward)
    twin = object.__new__(_lean_class(kind, leaf.call(module) if leaf else kind.forward))
    twin.__dict__ = {**module.__dict__, **module._parameters, **module._buffers, **children, "_modules": children}
    if hasattr(kind, "make_lean"):
        twin.make_lean()
    return twin


def is_plain(layer: nn.Module) -> bool:
    """Whether ``layer`` is a linear layer of torch's and no more: its weight may be used without calling it."""
    kind: Any = type(layer)  # a lean twin's class has the forward of its parent
    is_own = kind.forward in (Linear.forward, nn.Linear.forward) and "forward" not in layer.__dict__
    return is_own and not (_is_watched(layer) or layer._backward_hooks or layer._backward_pre_hooks)


def _is_watched(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


class Twin:
    """The lean twin of one module, made when it is first asked for and again when the module has changed."""

    def __init__(self) -> None:
        self._kept: tuple[Any, _Snapshot, list[Any]] | None = None

    def of(self, module: M) -> M:
        """The twin of ``module`` as it is now."""
        if nn.modules.module._has_any_global_hook():  # type: ignore[no-untyped-call]
            return module
        kept = self._kept
        if kept is None or not kept[1].is_current():
            twin: Any = lean(module)
            prepared = [part for part in twin.modules() if hasattr(part, "make_lean")]
            self._kept = twin, _Snapshot(module.modules()), prepared  # at once: other threads read it
            return twin  # type: ignore[no-any-return]
        twin, _, prepared = kept
        if twin is not module:
            for part in prepared:
                part.make_lean()
        return twin  # type: ignore[no-any-return]

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


@functools.cache
def _lean_class(kind: Any, call: Any) -> Any:
    return type(kind.__name__, (kind,), {"__call__": call, "__module__": kind.__module__})


def _linear(module: Any) -> Any:
    """What ``linear`` does, with the question of how many rows there are prepared."""
    weight = module.weight
    return _linear_up_to(0 if weight.numel() >= LARGE else -(-MANY // max(1, weight.shape[0])))


@functools.cache
def _linear_up_to(few: int) -> Any:
    def call(self: Any, x: Tensor) -> Tensor:
        return (F.linear if x.numel() < few else linear)(x, self.weight, self.bias)

    return call


def _layer_norm(self: Any, x: Tensor) -> Tensor:
    return torch.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)


def _embedding(self: Any, ids: Tensor) -> Tensor:
    return torch.embedding(self.weight, ids) if self.max_norm is None else nn.Embedding.forward(self, ids)


def _dropout(self: Any, x: Tensor) -> Tensor:
    return F.dropout(x, self.p) if self.training else x


class _Leaf(NamedTuple):
    """What takes the place of a ``forward`` of torch's own, which checks at each call what cannot change while a twin lives.

    call: of a module, its call. reads: the attributes, beside parameters, that it depends on.
    """

    call: Callable[[Any], Any]
    reads: tuple[str, ...]


_LEAVES: dict[Any, _Leaf] = {
    nn.Linear.forward: _Leaf(_linear, ()),
    Linear.forward: _Leaf(_linear, ()),
    nn.LayerNorm.forward: _Leaf(lambda _: _layer_norm, ("normalized_shape", "eps")),
    nn.Embedding.forward: _Leaf(lambda _: _embedding, ("max_norm",)),
    nn.Dropout.forward: _Leaf(lambda _: _dropout, ("p", "training")),
}
