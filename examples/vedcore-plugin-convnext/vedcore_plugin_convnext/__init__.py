"""ConvNeXt image encoder for vedcore (Liu et al., 2022, arXiv:2201.03545)."""

from vedcore import Backbone, hookimpl
from vedcore_plugin_convnext.config import ConvNextConfig
from vedcore_plugin_convnext.model import ConvNextModel

__all__ = ["CONVNEXT", "ConvNextConfig", "ConvNextModel"]

CONVNEXT = Backbone(name="convnext", role="encoder", model=ConvNextModel, protocol=2)


@hookimpl
def vedcore_plugin() -> list[Backbone]:
    """The backbones of this package."""
    return [CONVNEXT]
