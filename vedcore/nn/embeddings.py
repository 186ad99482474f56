"""Token embeddings. Shapes: R rows, T tokens, D hidden size."""

from __future__ import annotations

from torch import Tensor, nn

from vedcore.errors import ConfigError


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
        """token_types: the number of token types, or 0. pad: the id whose vector starts at zero and is not trained.

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
        """(R, T) ids or (R, T, D) ``inputs_embeds``, with (R or 1, T) positions and token types -> (R, T, D).

        The token types are 0 by default. ``inputs_embeds`` replaces the vectors of ``input_ids``.
        """
        x = self.tokens(input_ids) if inputs_embeds is None else inputs_embeds
        if self.types is not None:
            types = positions.new_zeros(1, 1) if token_types is None else token_types
            x = x + self.types(types)
        return self.dropout(self.norm(x + self.positions(positions)))  # type: ignore[no-any-return]


class ScaledEmbedding(nn.Embedding):
    """A token embedding whose output, but not its weight, is multiplied by ``scale``: BART, MBart, TrOCR."""

    def __init__(self, vocab_size: int, hidden_size: int, *, scale: float, pad: int | None = None) -> None:
        """pad: the id of the token whose vector starts at zero and is not trained.

        Raises ConfigError if ``pad`` is not in the vocabulary.
        """
        check_pad(pad, vocab_size)
        super().__init__(vocab_size, hidden_size, padding_idx=pad)
        self.scale = scale

    def forward(self, input_ids: Tensor) -> Tensor:
        """(R, T) ids -> (R, T, D)."""
        return super().forward(input_ids) * self.scale


def check_pad(pad: int | None, vocab_size: int) -> None:
    """Raise ConfigError if ``pad`` is an id that is not in the vocabulary."""
    if pad is not None and pad >= vocab_size:
        raise ConfigError(
            f"pad_token_id ({pad}) must be below vocab_size ({vocab_size})",
            field="pad_token_id",
            expected=f"below {vocab_size}",
            found=pad,
        )
