"""BERT: tokens, positions and token types, normed; blocks with the norm last; a head tied to the token embedding.

Shapes: R rows, T tokens, D hidden size, V vocabulary size.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from vedcore import KeyMap, Part, Rule, Seam, Step
from vedcore.nn import (
    MLP,
    TENSORFLOW_NORMS,
    Blocks,
    CrossAttention,
    PostNormBlock,
    PostNormCrossAttention,
    SelfAttention,
    TextEmbeddings,
    TransformHead,
    bert_blocks,
    initialize,
)
from vedcore_plugin_bert.config import BertConfig

KEYMAP = KeyMap(
    rules=(  # (on disk, here)
        Rule("bert.embeddings.word_embeddings", "embeddings.tokens"),
        Rule("bert.embeddings.position_embeddings", "embeddings.positions"),
        Rule("bert.embeddings.token_type_embeddings", "embeddings.types"),
        Rule("bert.embeddings.LayerNorm", "embeddings.norm"),
        *bert_blocks("bert.encoder.layer.{i}"),
        Rule("cls.predictions.transform.dense", "lm_head.dense"),
        Rule("cls.predictions.transform.LayerNorm", "lm_head.norm"),
        Rule("cls.predictions", "lm_head"),
    ),
    aliases=(
        ("embeddings", "bert.embeddings"),  # a file that holds the model without its head
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
    """A BERT that reads from left to right, with cross-attention where ``add_cross_attention`` says so."""

    config_class: ClassVar = BertConfig
    keymap: ClassVar = KEYMAP

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.hidden_size = self.memory_size = config.hidden_size
        self.vocab_size, self.max_positions = config.vocab_size, config.max_position_embeddings
        heads, layers = config.num_attention_heads, config.num_hidden_layers
        self.cache_shapes = ((heads, config.hidden_size // heads),) * layers
        self.seam = Seam(
            hidden_size=config.hidden_size,
            memory_size=config.hidden_size,
            num_heads=heads,
            num_layers=layers,
            norm="post",
            norm_eps=config.layer_norm_eps,
            attention_dropout=config.attention_probs_dropout_prob,
            hidden_dropout=config.hidden_dropout_prob,
            initializer_range=config.initializer_range,
        )
        self.embeddings = TextEmbeddings(
            config.vocab_size,
            config.hidden_size,
            config.max_position_embeddings,
            norm_eps=config.layer_norm_eps,
            dropout=config.hidden_dropout_prob,
            token_types=config.type_vocab_size,
            pad=config.pad_token_id,
        )
        self.blocks = Blocks(block(config) for _ in range(layers))
        crossed = range(layers) if config.add_cross_attention else ()
        self.cross = nn.ModuleList(cross_attention(config) for _ in crossed) or None
        self.lm_head = TransformHead(
            config.hidden_size, config.vocab_size, config.hidden_act, norm_eps=config.layer_norm_eps
        )
        # Published files hold the output bias twice; tied it is one tensor, untied only decoder.bias is added.
        self.lm_head.bias = nn.Parameter(torch.zeros(config.vocab_size))
        initialize(self, config.initializer_range)
        if config.tie_word_embeddings:
            self.lm_head.decoder.weight = self.embeddings.tokens.weight
            self.lm_head.bias = self.lm_head.decoder.bias

    @property
    def token_embedding(self) -> nn.Embedding:
        """Ids to vectors."""
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


def block(config: BertConfig) -> PostNormBlock:
    """One block of the decoder."""
    attention = SelfAttention(
        config.hidden_size, config.num_attention_heads, attention_dropout=config.attention_probs_dropout_prob
    )
    mlp = MLP(config.hidden_size, config.intermediate_size, config.hidden_act)
    return PostNormBlock(attention, mlp, norm_eps=config.layer_norm_eps, dropout=config.hidden_dropout_prob)


def cross_attention(config: BertConfig) -> PostNormCrossAttention:
    """What looks at the image in one block."""
    attention = CrossAttention(
        config.hidden_size, config.num_attention_heads, attention_dropout=config.attention_probs_dropout_prob
    )
    return PostNormCrossAttention(attention, norm_eps=config.layer_norm_eps, dropout=config.hidden_dropout_prob)
