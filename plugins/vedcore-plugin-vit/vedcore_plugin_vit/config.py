"""The config of a ViT, field by field as in the config.json files of transformers."""

from __future__ import annotations

from vedcore.config import Config, Size, flag, heads, integer, layers, model_config, number, rate, size, text, width
from vedcore.nn import ACTIVATIONS


@model_config("vit")
class ViTConfig(Config):
    """Sizes of a ViT encoder. The defaults are ViT-Base/16 at 224 pixels."""

    hidden_size: int = width(768)
    num_hidden_layers: int = layers(12)
    num_attention_heads: int = heads(12)
    intermediate_size: int = integer(3072)
    hidden_act: str = text("gelu", one_of=ACTIVATIONS)
    hidden_dropout_prob: float = rate(0.0)
    attention_probs_dropout_prob: float = rate(0.0)
    initializer_range: float = number(0.02, above=0.0)
    layer_norm_eps: float = number(1e-12, above=0.0)
    image_size: Size = size(224)
    patch_size: Size = size(16)
    num_channels: int = integer(3)
    qkv_bias: bool = flag(True)
    pooler_output_size: int | None = integer(None)
    pooler_act: str = text("tanh", one_of=ACTIVATIONS)
