"""ViT image encoder for vedcore (Dosovitskiy et al., 2021, arXiv:2010.11929)."""

from vedcore import Backbone, hookimpl
from vedcore_plugin_vit.config import ViTConfig
from vedcore_plugin_vit.model import ViTModel

__all__ = ["VIT", "ViTConfig", "ViTModel"]

VIT = Backbone(name="vit", role="encoder", model=ViTModel, protocol=2)


@hookimpl
def vedcore_plugin() -> list[Backbone]:
    """The backbones of this package."""
    return [VIT]
