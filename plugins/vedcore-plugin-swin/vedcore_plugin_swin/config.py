"""The configs of Swin and of Donut's encoder, field by field as in the config.json files of transformers.

Published files also have ``hidden_size`` and ``num_layers``, but these follow from the fields here: they are kept in ``extra``
and have no effect.
"""

from __future__ import annotations

from vedcore.config import MAX_HEADS, MAX_LAYERS, Config, Size, field, model_config, settings
from vedcore.nn import ACTIVATIONS


@settings
class SwinSizes(Config):
    """The fields that both architectures share. The defaults are Swin-Tiny at 224 pixels."""

    image_size: Size = field.size(224)
    patch_size: Size = field.size(4)
    num_channels: int = field.integer(3)
    embed_dim: int = field.width(96)
    depths: tuple[int, ...] = field.integers((2, 2, 6, 2), at_most=MAX_LAYERS)
    num_heads: tuple[int, ...] = field.integers((3, 6, 12, 24), at_most=MAX_HEADS)
    window_size: int = field.integer(7)
    mlp_ratio: float = field.number(4.0, above=0.0)
    qkv_bias: bool = field.flag(True)
    hidden_dropout_prob: float = field.rate(0.0)
    attention_probs_dropout_prob: float = field.rate(0.0)
    drop_path_rate: float = field.rate(0.1)
    hidden_act: str = field.text("gelu", one_of=ACTIVATIONS)
    use_absolute_embeddings: bool = field.flag(False)
    initializer_range: float = field.number(0.02, above=0.0)
    layer_norm_eps: float = field.number(1e-5, above=0.0)

    @property
    def hidden_size(self) -> int:
        """The width of the states. ``embed_dim`` is that of the first stage, and each stage doubles it."""
        return self.width(len(self.depths) - 1)

    def width(self, stage: int) -> int:
        """The width inside ``stage``."""
        return int(self.embed_dim * 2**stage)


@model_config("swin")
class SwinConfig(SwinSizes):
    """Sizes of a Swin encoder."""

    encoder_stride: int = field.integer(32)
    """Only the head for masked images uses it; it has no effect here."""


@model_config("donut-swin")
class DonutSwinConfig(SwinSizes):
    """Sizes of the encoder of Donut and Nougat."""
