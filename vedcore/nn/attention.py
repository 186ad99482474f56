"""Multi-head self-attention, and cross-attention to the encoder states of an image.

Shapes: R rows, B images, T new tokens, L keys in use, S encoder states, D hidden size, Dc width of the encoder states,
H heads, d head width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vedcore.contract.types import Step
from vedcore.errors import ConfigError
from vedcore.nn.linear import Linear, is_plain
from vedcore.speed.attention import attend, attention_probabilities, concatenated
from vedcore.speed.products import linear

Rotation = Callable[[Tensor, Tensor, Step], tuple[Tensor, Tensor]]
"""Queries (R, H, T, d) and keys (R, key_value_heads, T, d) of a step -> the same, rotated by their positions."""


class SelfAttention(nn.Module):
    """Self-attention. The step has the mask and the cache: a decoder is causal and cached, an encoder has neither."""

    qkv: Callable[[Tensor], Tensor] | None = None
    """Query, key and value as one product. Set only in the inference form of a model (``vedcore.model.prepare``)."""

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        *,
        key_value_heads: int | None = None,
        head_width: int | None = None,
        bias: bool = True,
        key_bias: bool | None = None,
        out_bias: bool = True,
        scale: float | None = None,
        attention_dropout: float = 0.0,
        rotary: Rotation | None = None,
    ) -> None:
        """key_value_heads: each is shared by as many consecutive query heads; by default there are ``num_heads``.

        head_width: d, hidden_size / num_heads if None. bias: whether query, key and value have one. key_bias: the same for the
        key, if it differs. out_bias: whether the output layer has one. scale: the factor of the scores, 1/sqrt(d) if None.
        rotary: rotates queries and keys by their positions, like ``Rotary``; all layers of a model can share one.

        Raises ConfigError unless ``num_heads`` divides ``hidden_size``, and ``key_value_heads`` divides ``num_heads``.
        """
        super().__init__()
        width = head_width or even_head_width(hidden_size, num_heads)
        groups = num_heads if key_value_heads is None else key_value_heads
        if num_heads % groups:
            raise ConfigError(
                f"the number of query heads ({num_heads}) must be a multiple of that of key and value heads ({groups})",
                field="num_key_value_heads",
                expected=f"a divisor of {num_heads}",
                found=groups,
            )
        self.num_heads = self.unpruned_heads = num_heads
        self.key_value_heads = groups
        self.heads = tuple(range(num_heads))
        self.scale = width**-0.5 if scale is None else scale
        self.attention_dropout = attention_dropout
        self.query = Linear(hidden_size, num_heads * width, bias=bias)
        self.key = Linear(hidden_size, groups * width, bias=bias if key_bias is None else key_bias)
        self.value = Linear(hidden_size, groups * width, bias=bias)
        self.out = Linear(num_heads * width, hidden_size, bias=out_bias)
        self.rotary = rotary

    def forward(self, x: Tensor, layer: int, step: Step, bias: Tensor | None = None) -> Tensor:
        """(R, T, D) -> (R, T, D); ``bias`` (R or 1, H, T, L) is added to the scores."""
        query, keys, values = self._project(x)
        if bias is not None and self.num_heads < self.unpruned_heads:
            bias = bias[:, self.heads]
        if self.rotary is not None:
            query, keys = self.rotary(query, keys, step)
        if step.cache is not None:
            keys, values = step.cache.write(layer, keys, values, step)
        if step.trace is not None:
            probabilities = attention_probabilities(query, keys, mask=step.mask, bias=bias, scale=self.scale)
            step.trace("self", layer, probabilities)
        dropout = self.attention_dropout if self.training else 0.0
        x = attend(query, keys, values, mask=step.mask, bias=bias, scale=self.scale, dropout=dropout)
        return self.out(merge_heads(x))  # type: ignore[no-any-return]

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(R, T, D) -> query (R, H, T, d), keys and values (R, key_value_heads, T, d)."""
        heads, groups = self.num_heads, self.key_value_heads
        if self.qkv is not None:
            qkv = self.qkv(x)
        elif torch.is_grad_enabled() and (weight_and_bias := self.concatenated_qkv()) is not None:
            qkv = linear(x, *weight_and_bias)
        else:
            return (
                split_heads(self.query(x), heads),
                split_heads(self.key(x), groups),
                split_heads(self.value(x), groups),
            )
        query, keys, values = torch.split(split_heads(qkv, heads + 2 * groups), [heads, groups, groups], dim=1)
        return query, keys, values

    def concatenated_qkv(self) -> tuple[Tensor, Tensor | None] | None:
        """(O, D) weight and (O,) bias of query, key and value together.

        None if one product is not faster than three, or if one of the layers is not a plain linear layer.
        """
        layers = (self.query, self.key, self.value)
        if not all(map(is_plain, layers)):
            return None
        return concatenated([layer.weight for layer in layers], [layer.bias for layer in layers])


class CrossAttention(nn.Module):
    """Cross-attention from tokens to an image. The rows of an image share its keys and values; they only add queries."""

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        *,
        memory_size: int | None = None,
        bias: bool = True,
        scale: float | None = None,
        attention_dropout: float = 0.0,
    ) -> None:
        """memory_size: Dc, ``hidden_size`` if None. bias: whether query, key and value have one.

        scale: the factor of the scores, 1/sqrt(d) if None. Raises ConfigError unless ``num_heads`` divides ``hidden_size``.
        """
        super().__init__()
        memory_size = hidden_size if memory_size is None else memory_size
        width = even_head_width(hidden_size, num_heads)  # first, because it checks the number of heads
        self.num_heads = self.unpruned_heads = num_heads
        self.heads = tuple(range(num_heads))
        self.scale = width**-0.5 if scale is None else scale
        self.attention_dropout = attention_dropout
        self.query = Linear(hidden_size, hidden_size, bias=bias)
        self.key = Linear(memory_size, hidden_size, bias=bias)
        self.value = Linear(memory_size, hidden_size, bias=bias)
        self.out = Linear(hidden_size, hidden_size)

    def remember(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S, Dc) -> keys and values, (B, H, S, d) each."""
        return split_heads(self.key(states), self.num_heads), split_heads(self.value(states), self.num_heads)

    def forward(self, x: Tensor, layer: int, step: Step) -> Tensor:
        """(R, T, D) -> (R, T, D). Zeros if the step has no memory."""
        memory = step.memory
        if memory is None:
            return torch.zeros_like(x)
        keys, values = memory.layers[layer]
        mask = None if memory.mask is None else memory.mask[:, None, None, :]
        if memory.rows is not None:
            keys, values = keys[memory.rows], values[memory.rows]
            mask = None if mask is None else mask[memory.rows]
        rows, tokens, _ = x.shape
        query = self.query(x)
        if rows != keys.shape[0]:
            query = query.view(keys.shape[0], -1, query.shape[2])
        query = split_heads(query, self.num_heads)
        if step.trace is not None:
            probabilities = attention_probabilities(query, keys, mask=mask, scale=self.scale)  # (B, H, R / B * T, S)
            images, heads, _, states = probabilities.shape
            step.trace(
                "cross", layer, probabilities.view(images, heads, -1, tokens, states).transpose(1, 2).flatten(0, 1)
            )
        dropout = self.attention_dropout if self.training else 0.0
        x = attend(query, keys, values, mask=mask, scale=self.scale, dropout=dropout)
        x = merge_heads(x)
        return self.out(x if x.shape[0] == rows else x.view(rows, tokens, -1))  # type: ignore[no-any-return]


def even_head_width(hidden_size: int, num_heads: int) -> int:
    """d, the width of one head. Raises ConfigError unless ``num_heads`` divides ``hidden_size``."""
    if hidden_size % num_heads:
        raise ConfigError(
            f"hidden size ({hidden_size}) must be a multiple of the number of heads ({num_heads})",
            field="hidden_size",
            expected=f"a multiple of {num_heads}",
            found=hidden_size,
        )
    return hidden_size // num_heads


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """(R, T, D) -> (R, H, T, d)."""
    rows, tokens, _ = x.shape
    if tokens == 1:  # as in most steps of decoding: there is nothing to transpose
        return x.view(rows, num_heads, 1, -1)
    return x.view(rows, tokens, num_heads, -1).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """(R, H, T, d) -> (R, T, D)."""
    rows, _, tokens, _ = x.shape
    if tokens == 1:
        return x.reshape(rows, 1, -1)
    return x.transpose(1, 2).flatten(2)
