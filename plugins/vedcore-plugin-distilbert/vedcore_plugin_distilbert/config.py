"""The config of a DistilBERT, field by field as in the config.json files of transformers."""

from __future__ import annotations

from vedcore.config import Config, TokenIds, field, model_config
from vedcore.nn import ACTIVATIONS


@model_config("distilbert")
class DistilBertConfig(Config):
    """Sizes of a DistilBERT decoder. The defaults are the published base model, uncased."""

    vocab_size: int = field.integer(30522)
    max_position_embeddings: int = field.integer(512)
    sinusoidal_pos_embds: bool = field.flag(False)
    n_layers: int = field.layers(6)
    n_heads: int = field.heads(12)
    dim: int = field.width(768)
    hidden_dim: int = field.integer(3072)
    dropout: float = field.rate(0.1)
    attention_dropout: float = field.rate(0.1)
    activation: str = field.text("gelu", one_of=ACTIVATIONS)
    initializer_range: float = field.number(0.02, above=0.0)
    tie_word_embeddings: bool = field.flag(True)
    bos_token_id: int | None = field.token_ids(None)
    eos_token_id: TokenIds = field.token_ids(None)
    pad_token_id: int | None = field.token_ids(0)

    @property
    def hidden_size(self) -> int:
        """``dim``, under the name that other architectures use."""
        return self.dim
