"""The inference form of a model: the same modules and tensors, called with less overhead in Python.

Finding a parameter or a submodule by its name and calling a module cost about a microsecond each, and a decoding step of a
small model makes a hundred and fifty of them: half of its time. In the inference form parameters and submodules are plain
attributes, and a call of a module is a call of its ``forward``, or of a function over its tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from vedcore.model.core import EncoderDecoder
from vedcore.nn import SelfAttention
from vedcore.nn.linear import LINEAR_FORWARDS
from vedcore.speed.products import prepared


def inference_form(module: Any) -> Any:
    """A copy of ``module`` and its submodules for inference, which shares their tensors.

    A module with hooks, with a ``forward`` of its own instance, with its own ``__call__``, or compiled in place stays as it
    is.
    """
    return _form(module, {})


def inference_core(model: EncoderDecoder) -> EncoderDecoder:
    """The core of ``model`` in its inference form."""
    core = EncoderDecoder(inference_form(model.encoder), inference_form(model.decoder), inference_form(model.bridge))
    core.__dict__.update(core._modules)  # found without nn.Module's search
    return core.eval()


def _form(module: nn.Module, seen: dict[int, nn.Module]) -> nn.Module:
    """The form of ``module``; ``seen`` has those of the modules that were visited."""
    kind: Any = type(module)
    has_hooks = bool(module._forward_hooks or module._forward_pre_hooks)
    is_compiled = module.__dict__.get("_compiled_call_impl") is not None
    if kind.__call__ is not nn.Module.__call__ or "forward" in module.__dict__ or has_hooks or is_compiled:
        return module
    if id(module) in seen:
        return seen[id(module)]
    form: Any = object.__new__(kind)
    seen[id(module)] = form
    children = {name: child if child is None else _form(child, seen) for name, child in module._modules.items()}
    called = {name: child.__dict__.get(_FUNCTION, child) for name, child in children.items() if child is not None}
    attributes = {
        **module.__dict__,
        **module._parameters,
        **module._buffers,
        **children,
        **called,
        "_modules": children,
    }
    form.__dict__.update(attributes)
    function = _function(form)
    if function is not None and not isinstance(form, nn.Embedding):  # whose parameters tell a decoder's type and device
        form.__dict__[_FUNCTION] = function
    # What nn.Module.compile() sets: nn.Module.__call__ calls it, and looks for no hooks.
    form.__dict__["_compiled_call_impl"] = kind.forward.__get__(form) if function is None else function
    if isinstance(module, SelfAttention) and (one := module.concatenated_qkv()) is not None:
        form.__dict__["qkv"] = prepared(*one)
    return form  # type: ignore[no-any-return]


_FUNCTION = "_inference_function"
"""Where a form that is a function over its tensors keeps it. Its parent calls the function in its place."""


def _function(form: Any) -> Callable[..., Any] | None:
    """A function over the tensors of one of torch's leaves, which check at each call what cannot change here; else None.

    It has the attributes of the leaf, for modules that read them.
    """
    function = _leaf(form)
    if function is not None:
        function.__dict__.update(form.__dict__)
    return function


def _leaf(form: Any) -> Callable[..., Any] | None:
    forward = type(form).forward
    if forward in LINEAR_FORWARDS:
        return prepared(form.weight, form.bias)
    if forward is nn.LayerNorm.forward:
        shape, weight, bias, eps = form.normalized_shape, form.weight, form.bias, form.eps
        return lambda x: torch.layer_norm(x, shape, weight, bias, eps)
    if forward is nn.RMSNorm.forward:
        size, scale, epsilon = form.normalized_shape, form.weight, form.eps
        return lambda x: torch.rms_norm(x, size, scale, epsilon)
    if forward is nn.Embedding.forward and form.max_norm is None:
        table = form.weight
        return lambda ids: torch.embedding(table, ids)
    if forward is nn.Dropout.forward and not form.training:
        return lambda x: x
    return None
