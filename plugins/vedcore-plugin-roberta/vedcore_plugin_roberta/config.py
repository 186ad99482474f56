"""The configs of RoBERTa and XLM-RoBERTa, field by field as in the config.json files of transformers."""

from __future__ import annotations

from vedcore import ConfigError
from vedcore.config import Config, TokenIds, field, model_config, settings
from vedcore.nn import ACTIVATIONS


@settings
class RobertaFields(Config):
    """The fields that both share: they are one architecture with two vocabularies."""

    vocab_size: int = field.integer(50265)
    hidden_size: int = field.width(768)
    num_hidden_layers: int = field.layers(12)
    num_attention_heads: int = field.heads(12)
    intermediate_size: int = field.integer(3072)
    hidden_act: str = field.text("gelu", one_of=ACTIVATIONS)
    hidden_dropout_prob: float = field.rate(0.1)
    attention_probs_dropout_prob: float = field.rate(0.1)
    max_position_embeddings: int = field.integer(512)
    # The relative kinds add terms to the scores that are not built here: refused, for without them the text is wrong.
    position_embedding_type: str = field.text("absolute", one_of=("absolute",))
    type_vocab_size: int = field.integer(2)
    initializer_range: float = field.number(0.02, above=0.0)
    layer_norm_eps: float = field.number(1e-12, above=0.0)
    is_decoder: bool = field.flag(True)
    add_cross_attention: bool = field.flag(False)
    tie_word_embeddings: bool = field.flag(True)
    bos_token_id: int | None = field.token_ids(0)
    eos_token_id: TokenIds = field.token_ids(2)
    pad_token_id: int = field.integer(1, at_least=0)

    def __attrs_post_init__(self) -> None:
        """Here it always reads from left to right; what is saved says so, also where an encoder's file did not."""
        self.is_decoder = True

    @property
    def max_tokens(self) -> int:
        """How many tokens have a position: the first stands at ``pad_token_id`` + 1. ConfigError if none has."""
        count = self.max_position_embeddings - self.pad_token_id - 1
        if count < 1:
            raise ConfigError(
                f"max_position_embeddings ({self.max_position_embeddings}) must be at least pad_token_id "
                f"({self.pad_token_id}) + 2, for the first token stands at pad_token_id + 1"
            )
        return count


@model_config("roberta")
class RobertaConfig(RobertaFields):
    """Sizes of a RoBERTa decoder. The defaults are those of transformers' class; roberta-base says more in its file."""


@model_config("xlm-roberta")
class XLMRobertaConfig(RobertaFields):
    """Sizes of an XLM-RoBERTa decoder. The defaults are those of transformers' class."""

    vocab_size: int = field.integer(30522)
