"""Config fields that ViT and DeiT share, and the modules that are built from them."""

from __future__ import annotations

from torch import nn

from vedcore.config import Config, Size, field, settings
from vedcore.nn.attention import SelfAttention
from vedcore.nn.blocks import PreNormBlock
from vedcore.nn.heads import ClassPooler
from vedcore.nn.mlp import ACTIVATIONS, MLP


@settings
class ViTFields(Config):
    """The config fields that ViT and DeiT share, by their names in config.json. The defaults are Base/16 at 224 pixels."""

    hidden_size: int = field.width(768)
    num_hidden_layers: int = field.layers(12)
    num_attention_heads: int = field.heads(12)
    intermediate_size: int = field.integer(3072)
    hidden_act: str = field.text("gelu", one_of=ACTIVATIONS)
    hidden_dropout_prob: float = field.rate(0.0)
    attention_probs_dropout_prob: float = field.rate(0.0)
    initializer_range: float = field.number(0.02, above=0.0)
    layer_norm_eps: float = field.number(1e-12, above=0.0)
    image_size: Size = field.size(224)
    patch_size: Size = field.size(16)
    num_channels: int = field.integer(3)
    qkv_bias: bool = field.flag(True)
    pooler_output_size: int | None = field.integer(None)
    pooler_act: str = field.text("tanh", one_of=ACTIVATIONS)


def vit_block(config: ViTFields) -> PreNormBlock:
    """One block of self-attention and MLP, norms first. Raises ConfigError unless the heads divide the hidden size."""
    attention = SelfAttention(
        config.hidden_size,
        config.num_attention_heads,
        bias=config.qkv_bias,
        attention_dropout=config.attention_probs_dropout_prob,
    )
    mlp = MLP(config.hidden_size, config.intermediate_size, config.hidden_act)
    attention_norm, mlp_norm = (nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps) for _ in range(2))
    return PreNormBlock(attention_norm, attention, mlp_norm, mlp, dropout=config.hidden_dropout_prob)


def vit_pooler(config: ViTFields) -> ClassPooler:
    """The pooler. Its output has ``pooler_output_size`` values, or ``hidden_size`` if that is not set."""
    return ClassPooler(config.hidden_size, config.pooler_output_size or config.hidden_size, config.pooler_act)
