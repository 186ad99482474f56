"""The config of a ViT, field by field as in the config.json files of transformers."""

from __future__ import annotations

from vedcore.config import model_config
from vedcore.nn import ViTFields


@model_config("vit")
class ViTConfig(ViTFields):
    """Sizes of a ViT encoder. The defaults are ViT-Base/16 at 224 pixels. The fields are in ``ViTFields``."""
