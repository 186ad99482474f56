"""The configs of a BART and of an MBart decoder, field by field as in the config.json files of transformers.

The fields of the encoder that stands beside it in a seq2seq file (``encoder_layers``, ...) are kept in ``extra``; so are
``num_hidden_layers`` and ``num_attention_heads``, which speak of that encoder too.
"""

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
    settings,
    text,
    token_ids,
    width,
)
from vedcore.nn import ACTIVATIONS


@settings
class DecoderConfig(Config):
    """What a BART and an MBart decoder have in common."""

    vocab_size: int = integer(50265)
    d_model: int = width(1024)
    decoder_layers: int = layers(12)
    decoder_attention_heads: int = heads(16)
    decoder_ffn_dim: int = integer(4096)
    activation_function: str = text("gelu", one_of=ACTIVATIONS)
    max_position_embeddings: int = integer(1024)
    scale_embedding: bool = flag(False)
    dropout: float = rate(0.1)
    attention_dropout: float = rate(0.0)
    activation_dropout: float = rate(0.0)
    decoder_layerdrop: float = rate(0.0)
    init_std: float = number(0.02, above=0.0)
    tie_word_embeddings: bool = flag(True)
    pad_token_id: int | None = token_ids(1)
    bos_token_id: int | None = token_ids(0)
    eos_token_id: TokenIds = token_ids(2)

    @property
    def hidden_size(self) -> int:
        """``d_model``, by the name that other architectures use."""
        return self.d_model

    @property
    def embedding_scale(self) -> float:
        """What token vectors are multiplied by."""
        return self.d_model**0.5 if self.scale_embedding else 1.0


@model_config("bart")
class BartConfig(DecoderConfig):
    """Sizes of a BART decoder. The defaults are BART-large."""

    decoder_start_token_id: int | None = token_ids(2)


@model_config("mbart")
class MBartConfig(DecoderConfig):
    """Sizes of an MBart decoder. The defaults are MBart-large, but for the vocabulary."""

    decoder_start_token_id: int | None = token_ids(None)
