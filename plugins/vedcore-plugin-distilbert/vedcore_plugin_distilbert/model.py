"""DistilBERT as a decoder: a causal BERT without token types and without cross-attention.

An adapter adds the cross-attention: it fills ``cross``. Shapes: R rows, T tokens, D hidden size, V vocabulary size.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from vedcore import DecoderPart, DecoderSizes, InputError, KeyMap, Rule, Seam, Step
from vedcore.nn import MLP, Blocks, PostNormBlock, SelfAttention, TextEmbeddings, TransformHead, initialize
from vedcore_plugin_distilbert.config import DistilBertConfig

NORM_EPS = 1e-12
"""The same in every DistilBERT. It is not in the config."""

_LAYER = "distilbert.transformer.layer.{i}"

KEYMAP = KeyMap(
    rules=(  # (on disk, here)
        Rule("distilbert.embeddings.word_embeddings", "embeddings.tokens"),
        Rule("distilbert.embeddings.position_embeddings", "embeddings.positions"),
        Rule("distilbert.embeddings.LayerNorm", "embeddings.norm"),
        Rule(f"{_LAYER}.attention.q_lin", "blocks.{i}.attention.query"),
        Rule(f"{_LAYER}.attention.k_lin", "blocks.{i}.attention.key"),
        Rule(f"{_LAYER}.attention.v_lin", "blocks.{i}.attention.value"),
        Rule(f"{_LAYER}.attention.out_lin", "blocks.{i}.attention.out"),
        Rule(f"{_LAYER}.sa_layer_norm", "blocks.{i}.attention_norm"),
        Rule(f"{_LAYER}.ffn.lin1", "blocks.{i}.mlp.up"),
        Rule(f"{_LAYER}.ffn.lin2", "blocks.{i}.mlp.down"),
        Rule(f"{_LAYER}.output_layer_norm", "blocks.{i}.mlp_norm"),
        Rule("vocab_transform", "lm_head.dense"),
        Rule("vocab_layer_norm", "lm_head.norm"),
        Rule("vocab_projector", "lm_head.decoder"),
    ),
    aliases=(
        ("embeddings", "distilbert.embeddings"),  # a file of the model without its head
        ("transformer", "distilbert.transformer"),
        ("{path}.LayerNorm.gamma", "{path}.LayerNorm.weight"),  # files converted from TensorFlow
        ("{path}.LayerNorm.beta", "{path}.LayerNorm.bias"),
    ),
    dropped=(  # a buffer, and the heads of other tasks
        "distilbert.embeddings.position_ids",
        "pre_classifier",
        "classifier",
        "qa_outputs",
    ),
)


class DistilBertForCausalLM(DecoderPart[DistilBertConfig]):
    """A causal DistilBERT."""

    config_class: ClassVar = DistilBertConfig
    keymap: ClassVar = KEYMAP

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self.sizes = DecoderSizes.uniform(
            hidden_size=config.dim,
            vocab_size=config.vocab_size,
            max_positions=config.max_position_embeddings,
            num_layers=config.n_layers,
            seam=Seam(
                norm="post",
                norm_eps=NORM_EPS,
                num_heads=config.n_heads,
                attention_dropout=config.attention_dropout,
                hidden_dropout=config.dropout,
                initializer_range=config.initializer_range,
            ),
        )
        self.embeddings = TextEmbeddings(
            config.vocab_size,
            config.dim,
            config.max_position_embeddings,
            norm_eps=NORM_EPS,
            dropout=config.dropout,
            pad=config.pad_token_id,
        )
        self.blocks = Blocks(block(config) for _ in range(config.n_layers))
        self.cross = None  # an adapter inserts it
        self.norm = nn.Identity()  # each block ends with a norm
        self.lm_head = TransformHead(config.dim, config.vocab_size, config.activation, norm_eps=NORM_EPS)
        initialize(self, config.initializer_range)
        if config.sinusoidal_pos_embds:  # only the initial values: they are trained and saved like learned ones
            with torch.no_grad():
                self.embeddings.positions.weight.copy_(sinusoids(config.max_position_embeddings, config.dim))
        if config.tie_word_embeddings:
            self.lm_head.decoder.weight = self.embeddings.tokens.weight

    @property
    def token_embedding(self) -> nn.Embedding:
        """(R, T) ids -> (R, T, D)."""
        return self.embeddings.tokens

    def embed(self, input_ids: Tensor | None, step: Step, /, *, inputs_embeds: Tensor | None = None) -> Tensor:
        """(R, T) ids, or (R, T, D) embeddings in their place -> (R, T, D), with positions and token types added."""
        if step.token_types is not None:
            raise InputError("DistilBERT has no token types: leave token_type_ids out", tensor="token_type_ids")
        positions = step.slots if step.positions is None else step.positions
        return self.embeddings(input_ids, positions, inputs_embeds=inputs_embeds)  # type: ignore[no-any-return]


def block(config: DistilBertConfig) -> PostNormBlock:
    """One block of the decoder. Dropout follows the MLP, but not the attention."""
    attention = SelfAttention(config.dim, config.n_heads, attention_dropout=config.attention_dropout)
    mlp = MLP(config.dim, config.hidden_dim, config.activation, dropout=config.dropout)
    attention_norm, mlp_norm = (nn.LayerNorm(config.dim, eps=NORM_EPS) for _ in range(2))
    return PostNormBlock(attention, attention_norm, mlp, mlp_norm)


def sinusoids(count: int, width: int) -> Tensor:
    """-> (count, width): sines in even columns, cosines in odd ones, with falling frequencies (Vaswani et al., 2017, 3.5)."""
    columns = torch.arange(width)
    angles = torch.arange(count)[:, None] / 10000 ** (2 * (columns // 2) / width)
    return torch.where(columns % 2 == 0, angles.sin(), angles.cos())
