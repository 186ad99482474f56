"""BEiT image encoder for vedcore (Bao et al., 2022, arXiv:2106.08254)."""

from vedcore import Backbone, hookimpl
from vedcore_plugin_beit.config import BeitConfig
from vedcore_plugin_beit.model import BeitModel

__all__ = ["BEIT", "BeitConfig", "BeitModel"]

BEIT = Backbone(name="beit", role="encoder", model=BeitModel, protocol=2)


@hookimpl
def vedcore_plugin() -> list[Backbone]:
    """The backbones of this package."""
    return [BEIT]
