"""The configs of a Swin and of Donut's, field by field as in the config.json files of transformers.

``hidden_size`` and ``num_layers`` stand in published files too, but follow from the fields here: what a file says of them
is kept in ``extra`` and has no effect.
"""

from __future__ import annotations

from vedcore.config import (
    MAX_HEADS,
    MAX_LAYERS,
    Config,
    Size,
    flag,
    integer,
    integers,
    model_config,
    number,
    rate,
    settings,
    size,
    text,
    width,
)
from vedcore.nn import ACTIVATIONS


@settings
class SwinSizes(Config):
    """The fields that both architectures have. The defaults are Swin-Tiny at 224 pixels."""

    image_size: Size = size(224)
    patch_size: Size = size(4)
    num_channels: int = integer(3)
    embed_dim: int = width(96)
    depths: tuple[int, ...] = integers((2, 2, 6, 2), at_most=MAX_LAYERS)
    num_heads: tuple[int, ...] = integers((3, 6, 12, 24), at_most=MAX_HEADS)
    window_size: int = integer(7)
    mlp_ratio: float = number(4.0, above=0.0)
    qkv_bias: bool = flag(True)
    hidden_dropout_prob: float = rate(0.0)
    attention_probs_dropout_prob: float = rate(0.0)
    drop_path_rate: float = rate(0.1)
    hidden_act: str = text("gelu", one_of=ACTIVATIONS)
    use_absolute_embeddings: bool = flag(False)
    initializer_range: float = number(0.02, above=0.0)
    layer_norm_eps: float = number(1e-5, above=0.0)

    @property
    def hidden_size(self) -> int:
        """The width of the states: ``embed_dim``, doubled from each stage to the next."""
        return self.width(len(self.depths) - 1)

    def width(self, stage: int) -> int:
        """The width inside ``stage``."""
        return int(self.embed_dim * 2**stage)


@model_config("swin")
class SwinConfig(SwinSizes):
    """Sizes of a Swin encoder."""

    encoder_stride: int = integer(32)
    """Of the head for masked images; no effect here."""


@model_config("donut-swin")
class DonutSwinConfig(SwinSizes):
    """Sizes of the encoder of Donut and Nougat."""
