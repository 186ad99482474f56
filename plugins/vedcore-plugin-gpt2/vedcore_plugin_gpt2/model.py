"""GPT-2: token and position embeddings, blocks with the norm first, a head tied to the token embedding.

Shapes: R rows, T tokens, D hidden size, V vocabulary size.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from vedcore import DecoderPart, DecoderSizes, KeyMap, Rule, Seam, Step
from vedcore.nn import (
    MLP,
    Blocks,
    CrossAttention,
    Linear,
    PreNormBlock,
    PreNormCrossAttention,
    SelfAttention,
    initialize,
)
from vedcore_plugin_gpt2.config import GPT2Config

_LAYER = "transformer.h.{i}"

KEYMAP = KeyMap(
    rules=(  # (on disk, here); on disk matrices are [in, out], and query, key and value are side by side
        Rule("transformer.wte", "token_embedding"),
        Rule("transformer.wpe", "positions"),
        Rule(f"{_LAYER}.ln_1", "blocks.{i}.attention_norm"),
        Rule(
            f"{_LAYER}.attn.c_attn",
            "blocks.{i}.attention.query",
            "blocks.{i}.attention.key",
            "blocks.{i}.attention.value",
            transposed=True,
        ),
        Rule(f"{_LAYER}.attn.c_proj", "blocks.{i}.attention.out", transposed=True),
        Rule(f"{_LAYER}.ln_cross_attn", "cross.{i}.norm"),
        Rule(f"{_LAYER}.crossattention.q_attn", "cross.{i}.attention.query", transposed=True),
        Rule(
            f"{_LAYER}.crossattention.c_attn",
            "cross.{i}.attention.key",
            "cross.{i}.attention.value",
            transposed=True,
        ),
        Rule(f"{_LAYER}.crossattention.c_proj", "cross.{i}.attention.out", transposed=True),
        Rule(f"{_LAYER}.ln_2", "blocks.{i}.mlp_norm"),
        Rule(f"{_LAYER}.mlp.c_fc", "blocks.{i}.mlp.up", transposed=True),
        Rule(f"{_LAYER}.mlp.c_proj", "blocks.{i}.mlp.down", transposed=True),
        Rule("transformer.ln_f", "norm"),
    ),
    aliases=(  # the files of openai-community/gpt2 contain only the transformer
        ("wte", "transformer.wte"),
        ("wpe", "transformer.wpe"),
        ("h", "transformer.h"),
        ("ln_f", "transformer.ln_f"),
    ),
    dropped=(  # masks saved as buffers
        f"{_LAYER}.attn.bias",
        f"{_LAYER}.attn.masked_bias",
        f"{_LAYER}.crossattention.bias",
        f"{_LAYER}.crossattention.masked_bias",
    ),
)


class GPT2LMHeadModel(DecoderPart[GPT2Config]):
    """A GPT-2 decoder, with cross-attention if the config has ``add_cross_attention``."""

    config_class: ClassVar = GPT2Config
    keymap: ClassVar = KEYMAP

    def __init__(self, config: GPT2Config) -> None:
        super().__init__(config)
        self.sizes = DecoderSizes.uniform(
            hidden_size=config.n_embd,
            vocab_size=config.vocab_size,
            max_positions=config.n_positions,
            num_layers=config.n_layer,
            token_types=config.vocab_size,  # GPT-2 looks token types up among the tokens
            seam=Seam(
                norm="pre",
                norm_eps=config.layer_norm_epsilon,
                num_heads=config.n_head,
                attention_dropout=config.attn_pdrop,
                hidden_dropout=config.resid_pdrop,
                initializer_range=config.initializer_range,
            ),
        )
        self.token_embedding = nn.Embedding(config.vocab_size, config.n_embd)
        self.positions = nn.Embedding(config.n_positions, config.n_embd)
        self.dropout = nn.Dropout(config.embd_pdrop)
        self.blocks = Blocks(block(config, i) for i in range(config.n_layer))
        self.cross = self.make_cross() if config.add_cross_attention else None
        self.norm = norm(config)
        self.lm_head = Linear(config.n_embd, config.vocab_size, bias=False)
        initialize(self, config.initializer_range)
        scale_residuals(self, config)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.token_embedding.weight

    def embed(self, input_ids: Tensor | None, step: Step, /, *, inputs_embeds: Tensor | None = None) -> Tensor:
        """(R, T) ids, or (R, T, D) embeddings in their place -> (R, T, D), with positions and token types added."""
        x = self.token_embedding(input_ids) if inputs_embeds is None else inputs_embeds
        x = x + self.positions(step.slots if step.positions is None else step.positions)
        if step.token_types is not None:
            x = x + self.token_embedding(step.token_types)  # GPT-2 uses the token embedding for token types too
        return self.dropout(x)  # type: ignore[no-any-return]

    def make_cross(self) -> nn.ModuleList:
        """New cross-attention layers."""
        layers = nn.ModuleList(cross_attention(self.config, i) for i in range(self.config.n_layer))
        initialize(layers, self.config.initializer_range)
        scale_residuals(layers, self.config)
        return layers


def scale_residuals(module: nn.Module, config: GPT2Config) -> None:
    """Divide initial values of projections into the residual stream by the root of their number (Radford et al., 2.3)."""
    for name, weight in module.named_parameters():
        if name.endswith(("attention.out.weight", "mlp.down.weight")):
            nn.init.normal_(weight, std=config.initializer_range / (2 * config.n_layer) ** 0.5)


def block(config: GPT2Config, layer: int) -> PreNormBlock:
    """Block ``layer`` of the decoder."""
    attention = SelfAttention(
        config.n_embd,
        config.n_head,
        scale=config.attention_scale(layer),
        attention_dropout=config.attn_pdrop,
    )
    mlp = MLP(config.n_embd, config.mlp_width, config.activation_function)
    return PreNormBlock(norm(config), attention, norm(config), mlp, dropout=config.resid_pdrop)


def cross_attention(config: GPT2Config, layer: int) -> PreNormCrossAttention:
    """The cross-attention of block ``layer``."""
    attention = CrossAttention(
        config.n_embd,
        config.n_head,
        scale=config.attention_scale(layer),
        attention_dropout=config.attn_pdrop,
    )
    return PreNormCrossAttention(norm(config), attention, dropout=config.resid_pdrop)


def norm(config: GPT2Config) -> nn.LayerNorm:
    """A norm: there are two in a block, one in a cross-attention, and one after the blocks."""
    return nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
