"""The config of a BEiT, field by field as in the config.json files of transformers."""

from __future__ import annotations

from vedcore.config import Config, Size, field, model_config
from vedcore.nn import ACTIVATIONS


@model_config("beit")
class BeitConfig(Config):
    """Sizes of a BEiT encoder. The defaults are BEiT-Base/16 at 224 pixels, without positions of any kind.

    Both relative biases may be used: they are added. With a ``layer_scale_init_value`` of 0 or less there is no layer scale.
    """

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
    use_mask_token: bool = field.flag(False)
    use_absolute_position_embeddings: bool = field.flag(False)
    use_relative_position_bias: bool = field.flag(False)
    use_shared_relative_position_bias: bool = field.flag(False)
    layer_scale_init_value: float = field.number(0.1)
    drop_path_rate: float = field.rate(0.1)
    use_mean_pooling: bool = field.flag(True)

    def drop_path(self, layer: int) -> float:
        """The rate of stochastic depth in block ``layer``: 0 in the first, ``drop_path_rate`` in the last."""
        return self.drop_path_rate * layer / max(self.num_hidden_layers - 1, 1)
