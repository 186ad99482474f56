"""DeiT image encoder for vedcore (Touvron et al., 2021, arXiv:2012.12877)."""

from vedcore import Backbone, hookimpl
from vedcore_plugin_deit.config import DeiTConfig
from vedcore_plugin_deit.model import DeiTModel

__all__ = ["DEIT", "DeiTConfig", "DeiTModel"]

DEIT = Backbone(name="deit", role="encoder", model=DeiTModel, protocol=2)


@hookimpl
def vedcore_plugin() -> list[Backbone]:
    """The backbones of this package."""
    return [DEIT]
