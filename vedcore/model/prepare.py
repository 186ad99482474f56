"""The inference form of a model: the same modules and tensors, called with less overhead in Python.

Finding a parameter or a submodule by its name and calling a module cost about a microsecond each, and a decoding step of a
small model makes a hundred and fifty of them: half of its time. In the inference form parameters and submodules are plain
attributes, and a call of a module is a call of its ``forward``, or of a function over its tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vedcore.model.core import EncoderDecoder
from vedcore.nn import SelfAttention
from vedcore.nn.linear import LINEAR_FORWARDS
from vedcore.speed.products import prepared


def inference_form(module: Any) -> Any:
    """A copy of ``module`` and its submodules for inference, which shares their tensors.

    A module with hooks, with a ``forward`` of its own instance, or with its own ``__call__`` stays as it is.
    """
    return _form(module, {})


def inference_core(model: EncoderDecoder) -> EncoderDecoder:
    """The core of ``model`` in its inference form."""
    core = EncoderDecoder(inference_form(model.encoder), inference_form(model.decoder), inference_form(model.bridge))
    core.__dict__.update(core._modules)  # found without nn.Module's search
    return core.eval()


def _form(module: nn.Module, seen: dict[int, nn.Module]) -> nn.Module:
    kind: Any = type(module)
    has_hooks = bool(module._forward_hooks or module._forward_pre_hooks)
    if kind.__call__ is not nn.Module.__call__ or "forward" in module.__dict__ or has_hooks:
        return module
    if id(module) in seen:
        return seen[id(module)]
    form: Any = object.__new__(kind)
    seen[id(module)] = form
    children = {name: child if child is None else _form(child, seen) for name, child in module._modules.items()}
    attributes = {**module.__dict__, **module._parameters, **module._buffers, **children, "_modules": children}
    form.__dict__.update(attributes)
    # What nn.Module.compile() sets: nn.Module.__call__ calls it, and looks for no hooks.
    form.__dict__["_compiled_call_impl"] = _call(form)
    if isinstance(form, SelfAttention) and (one := form.joined()) is not None:
        form.__dict__["qkv"] = prepared(*one)
    return form  # type: ignore[no-any-return]


def _call(form: Any) -> Callable[..., Any]:
    """What computes the result of ``form``: a function over its tensors for torch's own leaves, else its ``forward``."""
    forward = type(form).forward
    if forward in LINEAR_FORWARDS:
        return prepared(form.weight, form.bias)
    if forward is nn.LayerNorm.forward:
        shape, weight, bias, eps = form.normalized_shape, form.weight, form.bias, form.eps
        return lambda x: torch.layer_norm(x, shape, weight, bias, eps)
    if forward is nn.Embedding.forward and form.max_norm is None:
        table = form.weight
        return lambda ids: torch.embedding(table, ids)
    if forward is nn.Dropout.forward and not form.training:
        return _identity
    return forward.__get__(form)  # type: ignore[no-any-return]


def _identity(x: Tensor) -> Tensor:
    return x
