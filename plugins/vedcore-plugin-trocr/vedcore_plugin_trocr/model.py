"""TrOCR's decoder: a BART whose positions may be sinusoidal, and whose encoder may have another width.

Shapes: R rows, T tokens, D hidden size, V vocabulary size.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from vedcore import DecoderPart, DecoderSizes, KeyMap, Rule, Seam, Step
from vedcore.nn import (
    FAIRSEQ_BLOCKS,
    MLP,
    Blocks,
    CrossAttention,
    Linear,
    PostNormBlock,
    PostNormCrossAttention,
    ScaledEmbedding,
    SelfAttention,
    drop_layers,
    initialize,
)
from vedcore_plugin_trocr.config import TrOCRConfig
from vedcore_plugin_trocr.positions import LearnedPositions, SinusoidalPositions

NORM_EPS = 1e-5

KEYMAP = KeyMap(
    rules=(  # (on disk, here)
        Rule("model.decoder.embed_tokens", "token_embedding"),
        Rule("model.decoder.embed_positions", "positions.table"),
        Rule("model.decoder.layernorm_embedding", "embedding_norm"),
        *FAIRSEQ_BLOCKS,
        Rule("output_projection", "lm_head"),
    ),
    aliases=(("decoder", "model.decoder"),),  # a file of the decoder without its head
    dropped=(  # left by sinusoidal positions: a tensor that marks their dtype, or their whole table
        "model.decoder.embed_positions._float_tensor",
        "model.decoder.embed_positions.weights",
    ),
)


class TrOCRForCausalLM(DecoderPart[TrOCRConfig]):
    """A TrOCR decoder."""

    config_class: ClassVar = TrOCRConfig
    keymap: ClassVar = KEYMAP

    def __init__(self, config: TrOCRConfig) -> None:
        super().__init__(config)
        width, heads, layers = config.d_model, config.decoder_attention_heads, config.decoder_layers
        self.sizes = DecoderSizes.uniform(
            hidden_size=width,
            vocab_size=config.vocab_size,
            max_positions=config.max_position_embeddings,
            num_layers=layers,
            memory_size=config.memory_size,
            seam=Seam(
                norm="post",
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
        self.positions = positions(config)
        self.embedding_norm = nn.LayerNorm(width, eps=NORM_EPS) if config.layernorm_embedding else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = Blocks(block(config) for _ in range(layers))
        self.cross = self.make_cross()
        self.norm = nn.Identity()  # each block ends with a norm
        self.lm_head = Linear(width, config.vocab_size, bias=False)
        initialize(self, config.init_std)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.token_embedding.weight
        drop_layers(self.blocks, config.decoder_layerdrop)

    def embed(self, input_ids: Tensor | None, step: Step, /, *, inputs_embeds: Tensor | None = None) -> Tensor:
        """(R, T) ids, or (R, T, D) embeddings in their place -> (R, T, D), with positions and token types added."""
        x = self.token_embedding(input_ids) if inputs_embeds is None else inputs_embeds
        # The sinusoids keep their dtype when the weights are loaded in another.
        x = x + self.positions(input_ids, step).to(x.dtype)
        return self.dropout(self.embedding_norm(x))  # type: ignore[no-any-return]

    def make_cross(self) -> nn.ModuleList:
        """New cross-attention layers."""
        layers = nn.ModuleList(cross_attention(self.config) for _ in range(self.config.decoder_layers))
        initialize(layers, self.config.init_std)
        return layers


def positions(config: TrOCRConfig) -> LearnedPositions | SinusoidalPositions:
    """The position embedding that the config selects."""
    if config.use_learned_position_embeddings:
        return LearnedPositions(config.max_position_embeddings, config.d_model)
    return SinusoidalPositions(config.max_position_embeddings, config.d_model, config.pad_token_id)


def block(config: TrOCRConfig) -> PostNormBlock:
    """One block of the decoder."""
    attention = SelfAttention(
        config.d_model, config.decoder_attention_heads, attention_dropout=config.attention_dropout
    )
    mlp = MLP(
        config.d_model,
        config.decoder_ffn_dim,
        config.activation_function,
        inner_dropout=config.activation_dropout,
    )
    return PostNormBlock(attention, norm(config), mlp, norm(config), dropout=config.dropout)


def cross_attention(config: TrOCRConfig) -> PostNormCrossAttention:
    """The cross-attention of one block."""
    attention = CrossAttention(
        config.d_model,
        config.decoder_attention_heads,
        memory_size=config.memory_size,
        attention_dropout=config.attention_dropout,
    )
    return PostNormCrossAttention(attention, norm(config), dropout=config.dropout)


def norm(config: TrOCRConfig) -> nn.LayerNorm:
    """One of the norms of a block."""
    return nn.LayerNorm(config.d_model, eps=NORM_EPS)
