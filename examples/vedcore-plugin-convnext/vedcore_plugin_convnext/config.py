"""The config of a ConvNeXt, field by field as in the config.json files of transformers."""

from __future__ import annotations

from vedcore.config import Config, Size, field, model_config
from vedcore.nn import ACTIVATIONS


@model_config("convnext")
class ConvNextConfig(Config):
    """Sizes of a ConvNeXt encoder. The defaults are ConvNeXt-Tiny at 224 pixels."""

    num_channels: int = field.integer(3)
    patch_size: Size = field.size(4)
    num_stages: int = field.integer(4)
    hidden_sizes: tuple[int, ...] = field.integers((96, 192, 384, 768))
    depths: tuple[int, ...] = field.integers((3, 3, 9, 3))
    hidden_act: str = field.text("gelu", one_of=ACTIVATIONS)
    initializer_range: float = field.number(0.02, above=0.0)
    layer_norm_eps: float = field.number(1e-12, above=0.0)
    layer_scale_init_value: float = field.number(1e-6)
    drop_path_rate: float = field.rate(0.0)
    image_size: Size = field.size(224)

    @property
    def hidden_size(self) -> int:
        """The width of the states, which is that of the last stage."""
        return self.hidden_sizes[-1]
