"""Heads on the last hidden states: of a decoder with masked-language-model layers, and the pooler of an encoder.

Shapes: B images, S encoder states, D hidden size, V vocabulary size.
"""

from __future__ import annotations

from torch import Tensor, nn

from vedcore.nn.linear import Linear
from vedcore.nn.mlp import activation


class TransformHead(nn.Module):
    """Dense layer, activation, norm and output layer: the head of masked language models (BERT, RoBERTa, DistilBERT)."""

    def __init__(self, hidden_size: int, vocab_size: int, act: str, *, norm_eps: float) -> None:
        super().__init__()
        self.dense = Linear(hidden_size, hidden_size)
        self.act = activation(act)
        self.norm = nn.LayerNorm(hidden_size, eps=norm_eps)
        self.decoder = Linear(hidden_size, vocab_size)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., V)."""
        return self.decoder(self.norm(self.act(self.dense(x))))  # type: ignore[no-any-return]


class ClassPooler(nn.Module):
    """Dense layer and activation on the first state (ViT, DeiT, BEiT).

    Checkpoints contain its weights, so it is loaded and saved. Decoders do not use its output.
    """

    def __init__(self, hidden_size: int, output_size: int, act: str) -> None:
        super().__init__()
        self.dense = Linear(hidden_size, output_size)
        self.act = activation(act)

    def forward(self, states: Tensor) -> Tensor:
        """(B, S, D) -> (B, output_size)."""
        return self.act(self.dense(states[:, 0]))
