"""Transformer blocks with the norm first or last, and the loop over them.

A block is self-attention, cross-attention, then the MLP. The cross-attention is an argument and not a submodule: a decoder
without it gets it later as a list of layers (``Decoder.cross``).
Shapes: R rows, B images, T tokens, S encoder states, D hidden size, Dc width of the encoder states, H heads, d head width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import chain, repeat
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vedcore.contract.types import Step
from vedcore.nn.attention import CrossAttention
from vedcore.nn.dropout import drop


class PreNormBlock(nn.Module):
    """x + f(norm(x)), for attention and MLP: ViT, DeiT, BEiT, GPT-2, MBart."""

    def __init__(
        self,
        attention_norm: nn.Module,
        attention: nn.Module,
        mlp_norm: nn.Module,
        mlp: nn.Module,
        *,
        dropout: float = 0.0,
        after_attention: nn.Module | None = None,
        after_mlp: nn.Module | None = None,
    ) -> None:
        """attention: called with x, the number of the layer and the step, like ``SelfAttention``.

        after_attention, after_mlp: applied to f(norm(x)) before it is added to x: ``LayerScale``, ``DropPath``, a norm.
        """
        super().__init__()
        self.attention_norm = attention_norm
        self.attention = attention
        self.after_attention = after_attention
        self.mlp_norm = mlp_norm
        self.mlp = mlp
        self.after_mlp = after_mlp
        self.dropout = dropout

    def forward(self, x: Tensor, layer: int, step: Step, cross: CrossAttentionLayer | None = None) -> Tensor:
        """(R, T, D) -> (R, T, D)."""
        change = drop(self.attention(self.attention_norm(x), layer, step), self.dropout, self.training)
        x = x + (change if self.after_attention is None else self.after_attention(change))
        if cross is not None:
            x = cross(x, layer, step)
        change = drop(self.mlp(self.mlp_norm(x)), self.dropout, self.training)
        return x + (change if self.after_mlp is None else self.after_mlp(change))


class PostNormBlock(nn.Module):
    """norm(x + f(x)), for attention and MLP: BERT, RoBERTa, DistilBERT, BART, TrOCR."""

    def __init__(
        self,
        attention: nn.Module,
        attention_norm: nn.Module,
        mlp: nn.Module,
        mlp_norm: nn.Module,
        *,
        dropout: float = 0.0,
    ) -> None:
        """attention: called with x, the number of the layer and the step, like ``SelfAttention``."""
        super().__init__()
        self.attention = attention
        self.attention_norm = attention_norm
        self.mlp = mlp
        self.mlp_norm = mlp_norm
        self.dropout = dropout

    def forward(self, x: Tensor, layer: int, step: Step, cross: CrossAttentionLayer | None = None) -> Tensor:
        """(R, T, D) -> (R, T, D)."""
        x = self.attention_norm(x + drop(self.attention(x, layer, step), self.dropout, self.training))
        if cross is not None:
            x = cross(x, layer, step)
        return self.mlp_norm(x + drop(self.mlp(x), self.dropout, self.training))  # type: ignore[no-any-return]


class PreNormCrossAttention(nn.Module):
    """Cross-attention in a decoder with the norm first: x + attention(norm(x))."""

    def __init__(self, norm: nn.Module, attention: CrossAttention, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = norm
        self.attention = attention
        self.dropout = dropout

    def remember(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S, Dc) -> keys and values (B, H, S, d)."""
        return self.attention.remember(states)

    def forward(self, x: Tensor, layer: int, step: Step) -> Tensor:
        """(R, T, D) -> (R, T, D)."""
        return x + drop(self.attention(self.norm(x), layer, step), self.dropout, self.training)


class PostNormCrossAttention(nn.Module):
    """Cross-attention in a decoder with the norm last: norm(x + attention(x))."""

    def __init__(self, attention: CrossAttention, norm: nn.Module, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.attention = attention
        self.norm = norm
        self.dropout = dropout

    def remember(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S, Dc) -> keys and values (B, H, S, d)."""
        return self.attention.remember(states)

    def forward(self, x: Tensor, layer: int, step: Step) -> Tensor:
        """(R, T, D) -> (R, T, D)."""
        return self.norm(x + drop(self.attention(x, layer, step), self.dropout, self.training))  # type: ignore[no-any-return]


CrossAttentionLayer = Callable[[Tensor, int, Step], Tensor]


class Blocks(nn.ModuleList):
    """The blocks of an encoder or a decoder, and the loop over them. It reports hidden states and checkpoints gradients."""

    checkpointing = False
    """Gradient checkpointing: keep only the input of each block, and compute the block again in the backward pass."""

    def forward(self, x: Tensor, step: Step, cross: Iterable[Any] | None = None) -> Tensor:
        """(R, T, D) -> (R, T, D). ``cross[i]`` is the cross-attention of block i; it is skipped if the step has no memory."""
        cross_layers = repeat(None) if cross is None or step.memory is None else cross
        for layer, (block, cross_layer) in enumerate(zip(self, cross_layers, strict=False)):
            if step.trace is not None:
                step.trace("hidden", layer, x)
            # A second pass would write to the cache again, so a step with a cache is not checkpointed.
            if self.checkpointing and step.cache is None and torch.is_grad_enabled():
                x = _checkpointed(block, x, layer, step, cross_layer)
            else:
                x = block(x, layer, step, cross_layer)
        if step.trace is not None:
            step.trace("hidden", len(self), x)
        return x


def _checkpointed(block: nn.Module, x: Tensor, layer: int, step: Step, cross: Any) -> Tensor:
    """(R, T, D) -> (R, T, D): ``block`` with gradient checkpointing. The second pass repeats the dropout of the first."""
    steps = chain([step], repeat(step if step.trace is None else replace(step, trace=_ignore)))
    return checkpoint(lambda x: block(x, layer, next(steps), cross), x, use_reentrant=False)  # type: ignore[no-any-return]


def _ignore(kind: str, layer: int, tensor: Tensor) -> None:
    """The trace of the second pass. It has to exist, so that both passes compute the same tensors; it reports nothing."""
