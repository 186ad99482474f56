"""The config of a DeiT, field by field as in the config.json files of transformers."""

from __future__ import annotations

from vedcore.config import model_config
from vedcore.nn import ViTFields


@model_config("deit")
class DeiTConfig(ViTFields):
    """Sizes of a DeiT encoder. The defaults are DeiT-Base/16, distilled, at 224 pixels. The fields are in ``ViTFields``."""
