"""BART and MBart decoders: learned positions, normed embeddings, cross-attention in each block.

BART has its norms last; MBart has them first, and one more behind the blocks.
Shapes: R rows, T tokens, D hidden size, V vocabulary size.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from vedcore import KeyMap, Part, Rule, Seam, Step
from vedcore.nn import (
    FAIRSEQ_BLOCKS,
    MLP,
    Blocks,
    CrossAttention,
    LayerDrop,
    Linear,
    OffsetPositions,
    PostNormBlock,
    PostNormCrossAttention,
    PreNormBlock,
    PreNormCrossAttention,
    ScaledEmbedding,
    SelfAttention,
    initialize,
)
from vedcore_plugin_bart.config import BartConfig, DecoderConfig, MBartConfig

NORM_EPS = 1e-5

KEYMAP = KeyMap(
    rules=(  # (on disk, here)
        Rule("model.decoder.embed_tokens", "token_embedding"),
        Rule("model.decoder.embed_positions", "positions"),
        Rule("model.decoder.layernorm_embedding", "embedding_norm"),
        *FAIRSEQ_BLOCKS,
        Rule("model.decoder.layer_norm", "norm"),  # MBart alone
    ),
    aliases=(  # seq2seq files: with a head under "model.", without one bare; the embedding may be in "shared" only
        ("model.shared", "model.decoder.embed_tokens"),
        ("shared", "model.decoder.embed_tokens"),
        ("decoder", "model.decoder"),
    ),
    dropped=(  # the encoder of those files, heads for other tasks, and a number that fairseq left
        "model.encoder",
        "encoder",
        "final_logits_bias",
        "classification_head",
        "qa_outputs",
        "model.decoder.version",
    ),
)


class BartForCausalLM(Part[BartConfig]):
    """A BART decoder."""

    config_class: ClassVar = BartConfig
    keymap: ClassVar = KEYMAP

    def __init__(self, config: BartConfig) -> None:
        super().__init__(config)
        self.hidden_size = self.memory_size = config.d_model
        self.vocab_size, self.max_positions = config.vocab_size, config.max_position_embeddings
        self.cache_shapes, self.seam = cache_shapes(config), seam(config, "post")
        self.token_embedding = token_embedding(config)
        self.positions = OffsetPositions(config.max_position_embeddings, config.d_model)
        self.embedding_norm = nn.LayerNorm(config.d_model, eps=NORM_EPS)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = Blocks(
            PostNormBlock(self_attention(config), mlp(config), norm_eps=NORM_EPS, dropout=config.dropout)
            for _ in range(config.decoder_layers)
        )
        self.cross = nn.ModuleList(
            PostNormCrossAttention(cross_attention(config), norm_eps=NORM_EPS, dropout=config.dropout)
            for _ in range(config.decoder_layers)
        )
        self.lm_head = Linear(config.d_model, config.vocab_size, bias=False)
        finish(self)

    def forward(self, input_ids: Tensor | None, step: Step, /, *, inputs_embeds: Tensor | None = None) -> Tensor:
        """(R, T) ids, or (R, T, D) embeddings in their place -> (R, T, D) hidden states."""
        x = self.token_embedding(input_ids) if inputs_embeds is None else inputs_embeds
        x = x + self.positions(step.slots if step.positions is None else step.positions)
        x = self.dropout(self.embedding_norm(x))
        return self.blocks(x, step, self.cross)  # type: ignore[no-any-return]


class MBartForCausalLM(Part[MBartConfig]):
    """An MBart decoder: of Donut, of Nougat."""

    config_class: ClassVar = MBartConfig
    keymap: ClassVar = KEYMAP

    def __init__(self, config: MBartConfig) -> None:
        super().__init__(config)
        self.hidden_size = self.memory_size = config.d_model
        self.vocab_size, self.max_positions = config.vocab_size, config.max_position_embeddings
        self.cache_shapes, self.seam = cache_shapes(config), seam(config, "pre")
        self.token_embedding = token_embedding(config)
        self.positions = OffsetPositions(config.max_position_embeddings, config.d_model)
        self.embedding_norm = nn.LayerNorm(config.d_model, eps=NORM_EPS)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = Blocks(
            PreNormBlock(self_attention(config), mlp(config), norm_eps=NORM_EPS, dropout=config.dropout)
            for _ in range(config.decoder_layers)
        )
        self.cross = nn.ModuleList(
            PreNormCrossAttention(cross_attention(config), norm_eps=NORM_EPS, dropout=config.dropout)
            for _ in range(config.decoder_layers)
        )
        self.norm = nn.LayerNorm(config.d_model, eps=NORM_EPS)
        self.lm_head = Linear(config.d_model, config.vocab_size, bias=False)
        finish(self)

    def forward(self, input_ids: Tensor | None, step: Step, /, *, inputs_embeds: Tensor | None = None) -> Tensor:
        """(R, T) ids, or (R, T, D) embeddings in their place -> (R, T, D) hidden states."""
        x = self.token_embedding(input_ids) if inputs_embeds is None else inputs_embeds
        x = x + self.positions(step.slots if step.positions is None else step.positions)
        x = self.dropout(self.embedding_norm(x))
        return self.norm(self.blocks(x, step, self.cross))  # type: ignore[no-any-return]


def cache_shapes(config: DecoderConfig) -> tuple[tuple[int, int], ...]:
    """Heads and head width of each layer."""
    heads = config.decoder_attention_heads
    return ((heads, config.d_model // heads),) * config.decoder_layers


def seam(config: DecoderConfig, norm: Literal["pre", "post"]) -> Seam:
    """What another cross-attention would have to fit."""
    return Seam(
        hidden_size=config.d_model,
        memory_size=config.d_model,
        num_heads=config.decoder_attention_heads,
        num_layers=config.decoder_layers,
        norm=norm,
        norm_eps=NORM_EPS,
        attention_dropout=config.attention_dropout,
        hidden_dropout=config.dropout,
        initializer_range=config.init_std,
    )


def token_embedding(config: DecoderConfig) -> ScaledEmbedding:
    """The vectors of the vocabulary."""
    return ScaledEmbedding(config.vocab_size, config.d_model, scale=config.embedding_scale, pad=config.pad_token_id)


def self_attention(config: DecoderConfig) -> SelfAttention:
    """What looks at the tokens before, in one block."""
    heads = config.decoder_attention_heads
    return SelfAttention(config.d_model, heads, attention_dropout=config.attention_dropout)


def cross_attention(config: DecoderConfig) -> CrossAttention:
    """What looks at the image, in one block."""
    heads = config.decoder_attention_heads
    return CrossAttention(config.d_model, heads, attention_dropout=config.attention_dropout)


def mlp(config: DecoderConfig) -> MLP:
    """The feed-forward half of one block."""
    width, act = config.decoder_ffn_dim, config.activation_function
    return MLP(config.d_model, width, act, inner_dropout=config.activation_dropout)


def finish(model: BartForCausalLM | MBartForCausalLM) -> None:
    """First values, ties, and what training adds."""
    config = model.config
    initialize(model, config.init_std)
    if config.tie_word_embeddings:
        model.lm_head.weight = model.token_embedding.weight
    if config.decoder_layerdrop:
        for block in model.blocks:
            block.register_forward_hook(LayerDrop(config.decoder_layerdrop))
