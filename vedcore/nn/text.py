"""The ends of a BERT-like decoder: embeddings and head. Shapes: R rows, T tokens, D hidden size, V vocabulary size."""

from __future__ import annotations

from torch import Tensor, nn

from vedcore.errors import ConfigError
from vedcore.nn.linear import Linear
from vedcore.nn.mlp import activation


class TextEmbeddings(nn.Module):
    """The sum of token, position and token type embeddings, then a norm: BERT, RoBERTa, DistilBERT."""

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        max_positions: int,
        *,
        norm_eps: float,
        dropout: float,
        token_types: int = 0,
        pad: int | None = None,
    ) -> None:
        """token_types: the number of token types; 0 if there are none. pad: the token whose vector starts at zero.

        Raises ConfigError if ``pad`` is not in the vocabulary.
        """
        super().__init__()
        check_pad(pad, vocab_size)
        self.tokens = nn.Embedding(vocab_size, hidden_size, padding_idx=pad)
        self.positions = nn.Embedding(max_positions, hidden_size)
        self.types = nn.Embedding(token_types, hidden_size) if token_types else None
        self.norm = nn.LayerNorm(hidden_size, eps=norm_eps)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        input_ids: Tensor | None,
        positions: Tensor,
        *,
        token_types: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> Tensor:
        """(R, T) ids, or (R, T, D) embeddings in their place, at (R or 1, T) positions -> (R, T, D)."""
        x = self.tokens(input_ids) if inputs_embeds is None else inputs_embeds
        if self.types is not None:
            types = positions.new_zeros(1, 1) if token_types is None else token_types
            x = x + self.types(types)
        return self.dropout(self.norm(x + self.positions(positions)))  # type: ignore[no-any-return]


def check_pad(pad: int | None, vocab_size: int) -> None:
    """Raises ConfigError if there is a padding token and it is not in the vocabulary."""
    if pad is not None and pad >= vocab_size:
        raise ConfigError(
            f"pad_token_id ({pad}) must be below vocab_size ({vocab_size})",
            field="pad_token_id",
            expected=f"below {vocab_size}",
            found=pad,
        )


class TransformHead(nn.Module):
    """Dense, activation, norm, then the vocabulary: the head of masked language models (BERT, RoBERTa, DistilBERT)."""

    def __init__(self, hidden_size: int, vocab_size: int, act: str, *, norm_eps: float) -> None:
        super().__init__()
        self.dense = Linear(hidden_size, hidden_size)
        self.act = activation(act)
        self.norm = nn.LayerNorm(hidden_size, eps=norm_eps)
        self.decoder = Linear(hidden_size, vocab_size)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., V)."""
        return self.decoder(self.norm(self.act(self.dense(x))))  # type: ignore[no-any-return]
