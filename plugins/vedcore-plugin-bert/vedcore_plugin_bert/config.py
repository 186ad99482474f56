"""The config of a BERT, field by field as in the config.json files of transformers."""

from __future__ import annotations

from vedcore.config import Config, TokenIds, field, model_config
from vedcore.nn import ACTIVATIONS


@model_config("bert")
class BertConfig(Config):
    """Sizes of a BERT decoder. The defaults are BERT-Base, uncased."""

    vocab_size: int = field.integer(30522)
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
    bos_token_id: int | None = field.token_ids(None)
    eos_token_id: TokenIds = field.token_ids(None)
    pad_token_id: int | None = field.token_ids(0)

    def __attrs_post_init__(self) -> None:
        """Here a BERT always reads from left to right; what is saved says so, also where an encoder's file did not."""
        self.is_decoder = True
