"""Transformer blocks, norm first or norm last, and the loop over them.

A block is self-attention, then whatever looks at the image, then the MLP. The cross-attention is not the block's: the loop
hands each block its own, so that a decoder born without any gets it by having a list put in place (``Decoder.cross``).
Shapes: R rows, T tokens, D hidden size.
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
from vedcore.nn.attention import CrossAttention, SelfAttention
from vedcore.nn.drop import drop


class PreNormBlock(nn.Module):
    """x + f(norm(x)), twice: ViT, GPT-2, MBart."""

    def __init__(self, attention: SelfAttention, mlp: nn.Module, *, norm_eps: float, dropout: float = 0.0) -> None:
        super().__init__()
        hidden_size = attention.out.out_features
        self.attention_norm = nn.LayerNorm(hidden_size, eps=norm_eps)
        self.attention = attention
        self.mlp_norm = nn.LayerNorm(hidden_size, eps=norm_eps)
        self.mlp = mlp
        self.dropout = dropout

    def forward(self, x: Tensor, layer: int, step: Step, cross: CrossAttentionLayer | None = None) -> Tensor:
        """(R, T, D) -> (R, T, D)."""
        x = x + drop(self.attention(self.attention_norm(x), layer, step), self.dropout, self.training)
        if cross is not None:
            x = cross(x, layer, step)
        return x + drop(self.mlp(self.mlp_norm(x)), self.dropout, self.training)


class PostNormBlock(nn.Module):
    """norm(x + f(x)), twice: BERT, RoBERTa, DistilBERT, BART, TrOCR."""

    def __init__(self, attention: SelfAttention, mlp: nn.Module, *, norm_eps: float, dropout: float = 0.0) -> None:
        super().__init__()
        hidden_size = attention.out.out_features
        self.attention = attention
        self.attention_norm = nn.LayerNorm(hidden_size, eps=norm_eps)
        self.mlp = mlp
        self.mlp_norm = nn.LayerNorm(hidden_size, eps=norm_eps)
        self.dropout = dropout

    def forward(self, x: Tensor, layer: int, step: Step, cross: CrossAttentionLayer | None = None) -> Tensor:
        """(R, T, D) -> (R, T, D)."""
        x = self.attention_norm(x + drop(self.attention(x, layer, step), self.dropout, self.training))
        if cross is not None:
            x = cross(x, layer, step)
        return self.mlp_norm(x + drop(self.mlp(x), self.dropout, self.training))  # type: ignore[no-any-return]


class PreNormCrossAttention(nn.Module):
    """x + attention(norm(x)), looking at the image."""

    def __init__(self, attention: CrossAttention, *, norm_eps: float, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(attention.out.out_features, eps=norm_eps)
        self.attention = attention
        self.dropout = dropout

    def remember(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S, Dc) -> keys and values (B, H, S, d)."""
        return self.attention.remember(states)

    def forward(self, x: Tensor, layer: int, step: Step) -> Tensor:
        """(R, T, D) -> (R, T, D)."""
        return x + drop(self.attention(self.norm(x), layer, step), self.dropout, self.training)


class PostNormCrossAttention(nn.Module):
    """norm(x + attention(x)), looking at the image."""

    def __init__(self, attention: CrossAttention, *, norm_eps: float, dropout: float = 0.0) -> None:
        super().__init__()
        self.attention = attention
        self.norm = nn.LayerNorm(attention.out.out_features, eps=norm_eps)
        self.dropout = dropout

    def remember(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S, Dc) -> keys and values (B, H, S, d)."""
        return self.attention.remember(states)

    def forward(self, x: Tensor, layer: int, step: Step) -> Tensor:
        """(R, T, D) -> (R, T, D)."""
        return self.norm(x + drop(self.attention(x, layer, step), self.dropout, self.training))  # type: ignore[no-any-return]


CrossAttentionLayer = Callable[[Tensor, int, Step], Tensor]


class Blocks(nn.ModuleList):
    """The loop over the blocks of an encoder or a decoder: the one place where the states in between are seen or forgotten."""

    checkpointing = False
    """Keep for the gradient what enters a block alone, and compute what happens in it again when that is needed."""

    def forward(self, x: Tensor, step: Step, cross: Iterable[Any] | None = None) -> Tensor:
        """(R, T, D) -> (R, T, D); ``cross[i]`` is the cross-attention of block i, skipped where there is no memory."""
        looks = repeat(None) if cross is None or step.memory is None else cross
        for layer, (block, look) in enumerate(zip(self, looks, strict=False)):
            if step.trace is not None:
                step.trace("hidden", layer, x)
            # A cache is written to in place, once.
            again = self.checkpointing and step.cache is None and torch.is_grad_enabled()
            x = computed_again(block, x, layer, step, look) if again else block(x, layer, step, look)
        if step.trace is not None:
            step.trace("hidden", len(self), x)
        return x


def computed_again(block: nn.Module, x: Tensor, layer: int, step: Step, cross: Any) -> Tensor:
    """(R, T, D) -> (R, T, D): ``block``, of which nothing is kept: the backward pass computes it again, draws and all."""
    steps = chain([step], repeat(step if step.trace is None else replace(step, trace=unseen)))
    return checkpoint(lambda x: block(x, layer, next(steps), cross), x, use_reentrant=False)  # type: ignore[no-any-return]


def unseen(kind: str, layer: int, tensor: Tensor) -> None:
    """The trace of a second pass: it computes what the first one showed, and shows nothing."""
