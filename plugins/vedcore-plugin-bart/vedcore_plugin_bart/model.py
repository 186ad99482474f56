"""BART and MBart decoders: learned positions, a norm after the embeddings, cross-attention in each block.

BART has the norm last in each block. MBart has it first, and one more after the blocks.
Shapes: R rows, T tokens, D hidden size, V vocabulary size.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from vedcore import DecoderPart, DecoderSizes, KeyMap, Rule, Seam, Step
from vedcore.nn import (
    FAIRSEQ_BLOCKS,
    MLP,
    Blocks,
    CrossAttention,
    Linear,
    OffsetPositions,
    PostNormBlock,
    PostNormCrossAttention,
    PreNormBlock,
    PreNormCrossAttention,
    ScaledEmbedding,
    SelfAttention,
    drop_layers,
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
        Rule("model.decoder.layer_norm", "norm"),  # only in MBart
    ),
    aliases=(  # seq2seq files: with a head the names start with "model."; the embedding may be only in "shared"
        ("model.shared", "model.decoder.embed_tokens"),
        ("shared", "model.decoder.embed_tokens"),
        ("decoder", "model.decoder"),
    ),
    dropped=(  # the encoder in seq2seq files, heads for other tasks, and a version number of fairseq
        "model.encoder",
        "encoder",
        "final_logits_bias",
        "classification_head",
        "qa_outputs",
        "model.decoder.version",
    ),
)


class BartDecoder(DecoderPart[DecoderConfig]):
    """What BART and MBart share: all but the place of the norms. A subclass names its config class and its blocks."""

    keymap: ClassVar = KEYMAP
    norm_place: ClassVar[Literal["pre", "post"]]

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__(config)
        width, heads, layers = config.d_model, config.decoder_attention_heads, config.decoder_layers
        self.sizes = DecoderSizes.uniform(
            hidden_size=width,
            vocab_size=config.vocab_size,
            max_positions=config.max_position_embeddings,
            num_layers=layers,
            seam=Seam(
                norm=self.norm_place,
                norm_eps=NORM_EPS,
                num_heads=heads,
                attention_dropout=config.attention_dropout,
                hidden_dropout=config.dropout,
                initializer_range=config.init_std,
            ),
        )
        self.token_embedding = ScaledEmbedding(
            config.vocab_size, width, scale=config.embedding_scale, pad=config.pad_token_id
        )
        self.positions = OffsetPositions(config.max_position_embeddings, width)
        self.embedding_norm = norm(config)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = Blocks(self.block(config) for _ in range(layers))
        self.cross = self.make_cross()
        self.norm = self.final_norm(config)
        self.lm_head = Linear(width, config.vocab_size, bias=False)
        initialize(self, config.init_std)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.token_embedding.weight
        drop_layers(self.blocks, config.decoder_layerdrop)

    def block(self, config: DecoderConfig) -> nn.Module:
        """One block."""
        raise NotImplementedError

    def cross_layer(self, config: DecoderConfig) -> nn.Module:
        """The cross-attention of one block."""
        raise NotImplementedError

    def final_norm(self, config: DecoderConfig) -> nn.Module:
        """The norm after the blocks."""
        raise NotImplementedError

    def embed(self, input_ids: Tensor | None, step: Step, /, *, inputs_embeds: Tensor | None = None) -> Tensor:
        """(R, T) ids, or (R, T, D) embeddings in their place -> (R, T, D), with positions and token types added."""
        x = self.token_embedding(input_ids) if inputs_embeds is None else inputs_embeds
        x = x + self.positions(step.slots if step.positions is None else step.positions)
        return self.dropout(self.embedding_norm(x))  # type: ignore[no-any-return]

    def make_cross(self) -> nn.ModuleList:
        """New cross-attention layers."""
        config = self.config
        layers = nn.ModuleList(self.cross_layer(config) for _ in range(config.decoder_layers))
        initialize(layers, config.init_std)
        return layers


class BartForCausalLM(BartDecoder):
    """A BART decoder."""

    config_class: ClassVar = BartConfig
    norm_place = "post"

    def block(self, config: DecoderConfig) -> nn.Module:
        """One block, norms last."""
        return PostNormBlock(self_attention(config), norm(config), mlp(config), norm(config), dropout=config.dropout)

    def cross_layer(self, config: DecoderConfig) -> nn.Module:
        """The cross-attention of one block, norm last."""
        return PostNormCrossAttention(cross_attention(config), norm(config), dropout=config.dropout)

    def final_norm(self, config: DecoderConfig) -> nn.Module:
        """Nothing: each block ends with a norm."""
        return nn.Identity()


class MBartForCausalLM(BartDecoder):
    """An MBart decoder, as in Donut and Nougat."""

    config_class: ClassVar = MBartConfig
    norm_place = "pre"

    def block(self, config: DecoderConfig) -> nn.Module:
        """One block, norms first."""
        return PreNormBlock(norm(config), self_attention(config), norm(config), mlp(config), dropout=config.dropout)

    def cross_layer(self, config: DecoderConfig) -> nn.Module:
        """The cross-attention of one block, norm first."""
        return PreNormCrossAttention(norm(config), cross_attention(config), dropout=config.dropout)

    def final_norm(self, config: DecoderConfig) -> nn.Module:
        """The norm that blocks with the norm first need after the last of them."""
        return norm(config)


def norm(config: DecoderConfig) -> nn.LayerNorm:
    """One of the norms."""
    return nn.LayerNorm(config.d_model, eps=NORM_EPS)


def self_attention(config: DecoderConfig) -> SelfAttention:
    """The self-attention of one block."""
    heads = config.decoder_attention_heads
    return SelfAttention(config.d_model, heads, attention_dropout=config.attention_dropout)


def cross_attention(config: DecoderConfig) -> CrossAttention:
    """The cross-attention of one block."""
    heads = config.decoder_attention_heads
    return CrossAttention(config.d_model, heads, attention_dropout=config.attention_dropout)


def mlp(config: DecoderConfig) -> MLP:
    """The MLP of one block."""
    width, act = config.decoder_ffn_dim, config.activation_function
    return MLP(config.d_model, width, act, inner_dropout=config.activation_dropout)
