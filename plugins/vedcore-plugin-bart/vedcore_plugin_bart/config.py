"""The configs of a BART and of an MBart decoder, field by field as in the config.json files of transformers.

The fields of the text encoder in a seq2seq file (``encoder_layers``, ...) are kept in ``extra``. So are ``num_hidden_layers``
and ``num_attention_heads``, because they describe that encoder too.
"""

from __future__ import annotations

from vedcore.config import Config, TokenIds, field, model_config, settings
from vedcore.nn import ACTIVATIONS


@settings
class DecoderConfig(Config):
    """The fields that BART and MBart share."""

    vocab_size: int = field.integer(50265)
    d_model: int = field.width(1024)
    decoder_layers: int = field.layers(12)
    decoder_attention_heads: int = field.heads(16)
    decoder_ffn_dim: int = field.integer(4096)
    activation_function: str = field.text("gelu", one_of=ACTIVATIONS)
    max_position_embeddings: int = field.integer(1024)
    scale_embedding: bool = field.flag(False)
    dropout: float = field.rate(0.1)
    attention_dropout: float = field.rate(0.0)
    activation_dropout: float = field.rate(0.0)
    decoder_layerdrop: float = field.rate(0.0)
    init_std: float = field.number(0.02, above=0.0)
    tie_word_embeddings: bool = field.flag(True)
    pad_token_id: int | None = field.token_ids(1)
    bos_token_id: int | None = field.token_ids(0)
    eos_token_id: TokenIds = field.token_ids(2)

    @property
    def hidden_size(self) -> int:
        """``d_model``, under the name that other architectures use."""
        return self.d_model

    @property
    def embedding_scale(self) -> float:
        """The factor of the token embeddings."""
        return self.d_model**0.5 if self.scale_embedding else 1.0


@model_config("bart")
class BartConfig(DecoderConfig):
    """Sizes of a BART decoder. The defaults are BART-large."""

    decoder_start_token_id: int | None = field.token_ids(2)


@model_config("mbart")
class MBartConfig(DecoderConfig):
    """Sizes of an MBart decoder. The defaults are MBart-large, except the vocabulary size."""

    decoder_start_token_id: int | None = field.token_ids(None)
