"""Pruning: attention heads are removed from a part, and its config records which.

A part is an encoder or a decoder whose config has ``pruned_heads`` and ``pruned_cross_heads``. Layers are numbered through
all stages of a part. Heads keep the numbers that they have in the unpruned layer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from vedcore.contract.protocols import AttentionSizes
from vedcore.errors import ConfigError
from vedcore.nn.attention import CrossAttention, SelfAttention

Attention = SelfAttention | CrossAttention
Heads = Mapping[int, tuple[int, ...]]
"""The numbers of heads, by the number of their layer."""


def prune_heads(
    part: Any, heads: Mapping[int, Iterable[int]], cross: Mapping[int, Iterable[int]] | None = None
) -> None:
    """Remove heads of self-attention, and with ``cross`` heads of cross-attention, from ``part``.

    The config of the part records them. Raises ConfigError, and then changes nothing, if there is no such layer or head, or
    if a layer would have no head left.
    """
    config = part.config
    new = _heads_by_layer("heads", heads), _heads_by_layer("cross", {} if cross is None else cross)
    pruned = _union(config.pruned_heads, new[0]), _union(config.pruned_cross_heads, new[1])
    _heads_to_remove(part, *pruned)
    # The config checks both fields before either is set.
    checked = config.replace(pruned_heads=pruned[0], pruned_cross_heads=pruned[1])
    config.pruned_heads, config.pruned_cross_heads = checked.pruned_heads, checked.pruned_cross_heads
    apply_pruning(part)


def apply_pruning(part: Any) -> None:
    """Remove the heads that the config of ``part`` lists and that are still there.

    Call it when a part is complete, and again when it gets cross-attention. Raises ConfigError as ``prune_heads`` does.
    """
    config = part.config
    cross_heads = config.pruned_cross_heads if _layers(part, CrossAttention) else {}  # the layers may be added later
    for attention, heads in _heads_to_remove(part, config.pruned_heads, cross_heads):
        _remove(attention, heads)
    if config.pruned_heads and (sizes := getattr(part, "sizes", None)):
        left = [attention.num_heads for attention in _layers(part, SelfAttention)]
        layers = (AttentionSizes(heads, heads, old.head_width) for heads, old in zip(left, sizes.layers, strict=True))
        part.sizes = replace(sizes, layers=tuple(layers))


def _layers(part: nn.Module, kind: type[Attention]) -> list[Any]:
    return [module for module in part.modules() if isinstance(module, kind)]


def _heads_to_remove(part: nn.Module, heads: Heads, cross: Heads) -> list[tuple[Attention, tuple[int, ...]]]:
    """The attentions that lose heads, each with the numbers of these heads. Raises ConfigError as ``prune_heads`` does."""
    found = []
    for field, name, kind, by_layer in (
        ("pruned_heads", "self-attention", SelfAttention, heads),
        ("pruned_cross_heads", "cross-attention", CrossAttention, cross),
    ):
        layers = _layers(part, kind)
        for layer, numbers in by_layer.items():
            if not layers:
                raise ConfigError(
                    f"{type(part).__name__} has no {name} from vedcore.nn, whose heads vedcore can prune",
                    field=field,
                    expected=f"a {kind.__name__} in each block",
                    found=0,
                )
            if not 0 <= layer < len(layers):
                raise ConfigError(
                    f"{type(part).__name__} has {len(layers)} layers of {name}, none with the number {layer}",
                    field=field,
                    expected=f"a layer from 0 to {len(layers) - 1}",
                    found=layer,
                )
            unpruned = layers[layer].unpruned_heads
            if getattr(layers[layer], "key_value_heads", unpruned) < layers[layer].num_heads:
                raise ConfigError(
                    f"{type(part).__name__} shares key and value heads between query heads ({layers[layer].num_heads} query "
                    f"heads, {layers[layer].key_value_heads} key and value heads), so its heads cannot be pruned",
                    field=field,
                    expected="as many key and value heads as query heads",
                    found=layers[layer].key_value_heads,
                )
            if not set(numbers) <= set(range(unpruned)) or not _remaining(layers[layer], numbers):
                raise ConfigError(
                    f"heads {', '.join(map(str, sorted(numbers)))} of layer {layer} cannot be pruned: the heads are 0 to "
                    f"{unpruned - 1}, and one has to stay",
                    field=field,
                    expected=f"heads from 0 to {unpruned - 1}, not all",
                    found=numbers,
                )
            found.append((layers[layer], numbers))
    return found


def _remaining(attention: Attention, heads: Collection[int]) -> tuple[int, ...]:
    return tuple(head for head in attention.heads if head not in heads)


@torch.no_grad()
def _remove(attention: Attention, heads: Collection[int]) -> None:
    """Cut the rows of ``heads`` out of query, key and value, and their columns out of the output layer."""
    remaining = _remaining(attention, heads)
    if remaining == attention.heads:
        return
    width = attention.query.out_features // attention.num_heads
    kept = torch.tensor([head in remaining for head in attention.heads], device="cpu")
    rows = kept.repeat_interleave(width).nonzero().flatten()
    for layer in (attention.query, attention.key, attention.value):
        layer.out_features = len(rows)
        layer.weight = _selected(layer.weight, rows, dim=0)
        if layer.bias is not None:
            layer.bias = _selected(layer.bias, rows, dim=0)
    attention.out.in_features = len(rows)
    attention.out.weight = _selected(attention.out.weight, rows, dim=1)
    attention.num_heads, attention.heads = len(remaining), remaining
    if isinstance(attention, SelfAttention):
        attention.key_value_heads = len(remaining)


def _selected(parameter: Tensor, indices: Tensor, *, dim: int) -> nn.Parameter:
    """The slices of a parameter at ``indices`` along ``dim``, as a new parameter."""
    values = parameter.index_select(dim, indices.to(parameter.device))
    return nn.Parameter(values, requires_grad=parameter.requires_grad)


def _heads_by_layer(argument: str, heads: Any) -> Heads:
    """``heads`` with tuples of numbers. Raises ConfigError unless layers and heads are whole numbers."""
    try:
        found = {layer: tuple(numbers) for layer, numbers in heads.items()}
    except (AttributeError, TypeError):
        found = {None: ()}
    if any(type(number) is not int for layer, numbers in found.items() for number in (layer, *numbers)):
        raise ConfigError(
            f"{argument} must be lists of heads by layer, like {{0: [1, 2]}}, got {str(heads)[:80]}",
            field=argument,
            expected="lists of heads by layer",
            found=heads,
        )
    return found


def _union(first: Heads, second: Heads) -> dict[int, tuple[int, ...]]:
    """The heads of both, by layer."""
    layers = sorted({*first, *second})
    return {layer: tuple(sorted({*first.get(layer, ()), *second.get(layer, ())})) for layer in layers}
