"""BERT: token, position and token type embeddings, blocks with the norm last, a head tied to the token embedding.

Shapes: R rows, T tokens, D hidden size, V vocabulary size.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from vedcore import DecoderPart, KeyMap, Rule, Step
from vedcore.nn import (
    TENSORFLOW_NORMS,
    BertHead,
    Blocks,
    bert_block,
    bert_blocks,
    bert_cross,
    bert_embeddings,
    bert_sizes,
    bert_text_embeddings,
    initialize,
)
from vedcore_plugin_bert.config import BertConfig

KEYMAP = KeyMap(
    rules=(  # (on disk, here)
        *bert_embeddings("bert.embeddings"),
        *bert_blocks("bert.encoder.layer.{i}"),
        Rule("cls.predictions.transform.dense", "lm_head.dense"),
        Rule("cls.predictions.transform.LayerNorm", "lm_head.norm"),
        Rule("cls.predictions", "lm_head"),
    ),
    aliases=(
        ("embeddings", "bert.embeddings"),  # a file of the model without its head
        ("encoder", "bert.encoder"),
        *TENSORFLOW_NORMS,
    ),
    dropped=(  # a buffer, and the heads of other tasks
        "bert.embeddings.position_ids",
        "bert.pooler",
        "pooler",
        "cls.seq_relationship",
        "classifier",
        "qa_outputs",
    ),
)


class BertForCausalLM(DecoderPart[BertConfig]):
    """A causal BERT, with cross-attention if the config has ``add_cross_attention``."""

    config_class: ClassVar = BertConfig
    keymap: ClassVar = KEYMAP

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.sizes = bert_sizes(config, config.max_position_embeddings)
        self.embeddings = bert_text_embeddings(config, config.pad_token_id)
        self.blocks = Blocks(bert_block(config) for _ in range(config.num_hidden_layers))
        self.cross = self.make_cross() if config.add_cross_attention else None
        self.norm = nn.Identity()  # each block ends with a norm
        self.lm_head = BertHead(
            config.hidden_size, config.vocab_size, config.hidden_act, norm_eps=config.layer_norm_eps
        )
        initialize(self, config.initializer_range)
        if config.tie_word_embeddings:
            self.lm_head.tie(self.embeddings.tokens)

    @property
    def token_embedding(self) -> nn.Embedding:
        """(R, T) ids -> (R, T, D)."""
        return self.embeddings.tokens

    def embed(self, input_ids: Tensor | None, step: Step, /, *, inputs_embeds: Tensor | None = None) -> Tensor:
        """(R, T) ids, or (R, T, D) embeddings in their place -> (R, T, D), with positions and token types added."""
        positions = step.slots if step.positions is None else step.positions
        return self.embeddings(  # type: ignore[no-any-return]
            input_ids, positions, token_types=step.token_types, inputs_embeds=inputs_embeds
        )

    def make_cross(self) -> nn.ModuleList:
        """New cross-attention layers."""
        return bert_cross(self.config)
