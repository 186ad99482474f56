"""The config of a ViT, field by field as in the config.json files of transformers."""

from __future__ import annotations

from vedcore.config import Config, Size, field, model_config
from vedcore.nn import ACTIVATIONS


@model_config("vit")
class ViTConfig(Config):
    """Sizes of a ViT encoder. The defaults are ViT-Base/16 at 224 pixels."""

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
