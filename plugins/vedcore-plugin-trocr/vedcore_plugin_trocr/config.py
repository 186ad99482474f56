"""The config of a TrOCR decoder, field by field as in the config.json files of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from vedcore.config import Config, TokenIds, field, model_config
from vedcore.nn import ACTIVATIONS


@model_config("trocr")
class TrOCRConfig(Config):
    """Sizes of a TrOCR decoder. The defaults are trocr-large-handwritten, except the width of the encoder.

    cross_attention_hidden_size: the width of the encoder's states; None means d_model.
    use_learned_position_embeddings: false for sinusoids, which are not in the file.
    """

    vocab_size: int = field.integer(50265)
    d_model: int = field.width(1024)
    decoder_layers: int = field.layers(12)
    decoder_attention_heads: int = field.heads(16)
    decoder_ffn_dim: int = field.integer(4096)
    activation_function: str = field.text("gelu", one_of=ACTIVATIONS)
    max_position_embeddings: int = field.integer(512)
    cross_attention_hidden_size: int | None = field.integer(None)
    scale_embedding: bool = field.flag(False)
    use_learned_position_embeddings: bool = field.flag(True)
    layernorm_embedding: bool = field.flag(True)
    dropout: float = field.rate(0.1)
    attention_dropout: float = field.rate(0.0)
    activation_dropout: float = field.rate(0.0)
    decoder_layerdrop: float = field.rate(0.0)
    init_std: float = field.number(0.02, above=0.0)
    tie_word_embeddings: bool = field.flag(True)
    pad_token_id: int | None = field.token_ids(1)
    bos_token_id: int | None = field.token_ids(0)
    eos_token_id: TokenIds = field.token_ids(2)
    decoder_start_token_id: int | None = field.token_ids(2)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "config") -> Self:
        """As ``Config.from_dict``. It also reads encoder_hidden_size, the old name of cross_attention_hidden_size."""
        fields = dict(data)
        width = fields.pop("encoder_hidden_size", None)
        if fields.get("cross_attention_hidden_size") is None and width is not None:
            fields["cross_attention_hidden_size"] = width
        return super().from_dict(fields, where)

    @property
    def hidden_size(self) -> int:
        """``d_model``, under the name that other architectures use."""
        return self.d_model

    @property
    def memory_size(self) -> int:
        """The width of the states that cross-attention reads."""
        return self.cross_attention_hidden_size or self.d_model

    @property
    def embedding_scale(self) -> float:
        """The factor of the token embeddings."""
        return self.d_model**0.5 if self.scale_embedding else 1.0
