"""BERT: token, position and token type embeddings, blocks with the norm last, a head tied to the token embedding.

Shapes: R rows, T tokens, D hidden size, V vocabulary size.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from vedcore import KeyMap, Part, Rule, Step
from vedcore.nn import (
    TENSORFLOW_NORMS,
    BertHead,
    Blocks,
    bert_block,
    bert_blocks,
    bert_cross_attention,
    bert_embeddings,
    bert_seam,
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


class BertForCausalLM(Part[BertConfig]):
    """A causal BERT, with cross-attention if the config has ``add_cross_attention``."""

    config_class: ClassVar = BertConfig
    keymap: ClassVar = KEYMAP

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.hidden_size = self.memory_size = config.hidden_size
        self.vocab_size, self.max_positions = config.vocab_size, config.max_position_embeddings
        heads, layers = config.num_attention_heads, config.num_hidden_layers
        self.cache_shapes = ((heads, config.hidden_size // heads),) * layers
        self.seam = bert_seam(config)
        self.embeddings = bert_text_embeddings(config, config.pad_token_id)
        self.blocks = Blocks(bert_block(config) for _ in range(layers))
        crossed = range(layers) if config.add_cross_attention else ()
        self.cross = nn.ModuleList(bert_cross_attention(config) for _ in crossed) or None
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

    def forward(self, input_ids: Tensor | None, step: Step, /, *, inputs_embeds: Tensor | None = None) -> Tensor:
        """(R, T) ids, or (R, T, D) embeddings in their place -> (R, T, D) hidden states."""
        x = self.embeddings(
            input_ids,
            step.slots if step.positions is None else step.positions,
            token_types=step.token_types,
            inputs_embeds=inputs_embeds,
        )
        return self.blocks(x, step, self.cross)  # type: ignore[no-any-return]
