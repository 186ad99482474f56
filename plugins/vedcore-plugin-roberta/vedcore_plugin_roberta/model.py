"""RoBERTa: a BERT whose positions are counted from the padding id, and XLM-RoBERTa, the same for a hundred languages.

Shapes: R rows, T tokens, D hidden size, V vocabulary size.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from vedcore import InputError, KeyMap, Part, Rule, Seam, Step
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
    positions_from_ids,
)
from vedcore_plugin_roberta.config import RobertaConfig, RobertaFields, XLMRobertaConfig

KEYMAP = KeyMap(
    rules=(  # (on disk, here)
        Rule("roberta.embeddings.word_embeddings", "trunk.embeddings.tokens"),
        Rule("roberta.embeddings.position_embeddings", "trunk.embeddings.positions"),
        Rule("roberta.embeddings.token_type_embeddings", "trunk.embeddings.types"),
        Rule("roberta.embeddings.LayerNorm", "trunk.embeddings.norm"),
        *bert_blocks("roberta.encoder.layer.{i}", "trunk.blocks"),
        Rule("lm_head.layer_norm", "lm_head.norm"),
    ),
    aliases=(
        ("embeddings", "roberta.embeddings"),  # a file that holds the model without its head
        ("encoder", "roberta.encoder"),
        *TENSORFLOW_NORMS,
    ),
    dropped=(  # a buffer, and the heads of other tasks
        "roberta.embeddings.position_ids",
        "roberta.pooler",
        "pooler",
        "classifier",
        "qa_outputs",
    ),
)


class RobertaForCausalLM(Part[RobertaConfig]):
    """A RoBERTa that reads from left to right, with cross-attention where ``add_cross_attention`` says so."""

    config_class: ClassVar = RobertaConfig
    keymap: ClassVar = KEYMAP

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.hidden_size = self.memory_size = config.hidden_size
        self.vocab_size, self.max_positions = config.vocab_size, config.max_tokens
        self.cache_shapes, self.seam = cache_shapes(config), seam(config)
        self.trunk = Trunk(config)
        self.cross = cross_attentions(config)
        self.lm_head = head(config, self.token_embedding)

    @property
    def token_embedding(self) -> nn.Embedding:
        """Ids to vectors."""
        return self.trunk.embeddings.tokens

    def forward(self, input_ids: Tensor | None, step: Step, /, *, inputs_embeds: Tensor | None = None) -> Tensor:
        """(R, T) ids, or (R, T, D) embeddings in their place -> (R, T, D) hidden states."""
        return self.trunk(input_ids, step, self.cross, inputs_embeds)  # type: ignore[no-any-return]


class XLMRobertaForCausalLM(Part[XLMRobertaConfig]):
    """An XLM-RoBERTa that reads from left to right, with cross-attention where ``add_cross_attention`` says so."""

    config_class: ClassVar = XLMRobertaConfig
    keymap: ClassVar = KEYMAP

    def __init__(self, config: XLMRobertaConfig) -> None:
        super().__init__(config)
        self.hidden_size = self.memory_size = config.hidden_size
        self.vocab_size, self.max_positions = config.vocab_size, config.max_tokens
        self.cache_shapes, self.seam = cache_shapes(config), seam(config)
        self.trunk = Trunk(config)
        self.cross = cross_attentions(config)
        self.lm_head = head(config, self.token_embedding)

    @property
    def token_embedding(self) -> nn.Embedding:
        """Ids to vectors."""
        return self.trunk.embeddings.tokens

    def forward(self, input_ids: Tensor | None, step: Step, /, *, inputs_embeds: Tensor | None = None) -> Tensor:
        """(R, T) ids, or (R, T, D) embeddings in their place -> (R, T, D) hidden states."""
        return self.trunk(input_ids, step, self.cross, inputs_embeds)  # type: ignore[no-any-return]


class Trunk(nn.Module):
    """Embeddings and blocks, with the rule for positions: what the two architectures share."""

    def __init__(self, config: RobertaFields) -> None:
        super().__init__()
        self.pad = config.pad_token_id
        self.embeddings = TextEmbeddings(
            config.vocab_size,
            config.hidden_size,
            config.max_position_embeddings,
            norm_eps=config.layer_norm_eps,
            dropout=config.hidden_dropout_prob,
            token_types=config.type_vocab_size,
            pad=config.pad_token_id,
        )
        self.embeddings.positions.padding_idx = config.pad_token_id  # padding stands there; it starts at zero and stays
        self.blocks = Blocks(block(config) for _ in range(config.num_hidden_layers))
        initialize(self, config.initializer_range)

    def forward(
        self, input_ids: Tensor | None, step: Step, cross: nn.ModuleList | None, inputs_embeds: Tensor | None
    ) -> Tensor:
        """(R, T) ids, or (R, T, D) embeddings in their place -> (R, T, D) hidden states."""
        positions = self.positions(input_ids, step) if inputs_embeds is None else self.positions(None, step)
        x = self.embeddings(input_ids, positions, token_types=step.token_types, inputs_embeds=inputs_embeds)
        return self.blocks(x, step, cross)  # type: ignore[no-any-return]

    def positions(self, input_ids: Tensor | None, step: Step) -> Tensor:
        """(R or 1, T): padding is passed over where there are ids to tell it by, else counted."""
        if step.positions is not None:
            return step.positions
        if step.slots is None:
            raise InputError("a decoder's step needs slots or positions: where its tokens stand")
        return step.slots + self.pad + 1 if input_ids is None else positions_from_ids(input_ids, step.slots, self.pad)


def block(config: RobertaFields) -> PostNormBlock:
    """One block of the decoder."""
    attention = SelfAttention(
        config.hidden_size, config.num_attention_heads, attention_dropout=config.attention_probs_dropout_prob
    )
    mlp = MLP(config.hidden_size, config.intermediate_size, config.hidden_act)
    return PostNormBlock(attention, mlp, norm_eps=config.layer_norm_eps, dropout=config.hidden_dropout_prob)


def cross_attentions(config: RobertaFields) -> nn.ModuleList | None:
    """What looks at the image, a layer each; None in a decoder that never learned to."""
    if not config.add_cross_attention:
        return None
    layers = nn.ModuleList(
        PostNormCrossAttention(
            CrossAttention(
                config.hidden_size, config.num_attention_heads, attention_dropout=config.attention_probs_dropout_prob
            ),
            norm_eps=config.layer_norm_eps,
            dropout=config.hidden_dropout_prob,
        )
        for _ in range(config.num_hidden_layers)
    )
    initialize(layers, config.initializer_range)
    return layers


def head(config: RobertaFields, tokens: nn.Embedding) -> TransformHead:
    """Hidden states to logits; its activation is GELU whatever ``hidden_act`` says."""
    head = TransformHead(config.hidden_size, config.vocab_size, "gelu", norm_eps=config.layer_norm_eps)
    # Published files hold the output bias twice; tied it is one tensor, untied only decoder.bias is added.
    head.bias = nn.Parameter(torch.zeros(config.vocab_size))
    initialize(head, config.initializer_range)
    if config.tie_word_embeddings:
        head.decoder.weight, head.bias = tokens.weight, head.decoder.bias
    return head


def cache_shapes(config: RobertaFields) -> tuple[tuple[int, int], ...]:
    """A layer each: heads, head width."""
    heads = config.num_attention_heads
    return ((heads, config.hidden_size // heads),) * config.num_hidden_layers


def seam(config: RobertaFields) -> Seam:
    """What an inserted cross-attention must fit."""
    return Seam(
        hidden_size=config.hidden_size,
        memory_size=config.hidden_size,
        num_heads=config.num_attention_heads,
        num_layers=config.num_hidden_layers,
        norm="post",
        norm_eps=config.layer_norm_eps,
        attention_dropout=config.attention_probs_dropout_prob,
        hidden_dropout=config.hidden_dropout_prob,
        initializer_range=config.initializer_range,
    )
