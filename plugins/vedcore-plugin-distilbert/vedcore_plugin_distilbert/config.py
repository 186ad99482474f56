"""The config of a DistilBERT, field by field as in the config.json files of transformers."""

from __future__ import annotations

from vedcore.config import (
    Config,
    TokenIds,
    flag,
    heads,
    integer,
    layers,
    model_config,
    number,
    rate,
    text,
    token_ids,
    width,
)
from vedcore.nn import ACTIVATIONS


@model_config("distilbert")
class DistilBertConfig(Config):
    """Sizes of a DistilBERT decoder. The defaults are the published base model, uncased."""

    vocab_size: int = integer(30522)
    max_position_embeddings: int = integer(512)
    sinusoidal_pos_embds: bool = flag(False)
    n_layers: int = layers(6)
    n_heads: int = heads(12)
    dim: int = width(768)
    hidden_dim: int = integer(3072)
    dropout: float = rate(0.1)
    attention_dropout: float = rate(0.1)
    activation: str = text("gelu", one_of=ACTIVATIONS)
    initializer_range: float = number(0.02, above=0.0)
    tie_word_embeddings: bool = flag(True)
    bos_token_id: int | None = token_ids(None)
    eos_token_id: TokenIds = token_ids(None)
    pad_token_id: int | None = token_ids(0)

    @property
    def hidden_size(self) -> int:
        """``dim``, by the name that other architectures use."""
        return self.dim
