"""Swin image encoders for vedcore (Liu et al., 2021, arXiv:2103.14030), Donut's too (Kim et al., 2022, arXiv:2111.15664)."""

from vedcore import Backbone, hookimpl
from vedcore_plugin_swin.config import DonutSwinConfig, SwinConfig
from vedcore_plugin_swin.model import DonutSwinModel, SwinModel

__all__ = ["DONUT_SWIN", "SWIN", "DonutSwinConfig", "DonutSwinModel", "SwinConfig", "SwinModel"]

SWIN = Backbone(name="swin", role="encoder", model=SwinModel, protocol=2)
DONUT_SWIN = Backbone(name="donut-swin", role="encoder", model=DonutSwinModel, protocol=2)


@hookimpl
def vedcore_plugin() -> list[Backbone]:
    """The backbones of this package."""
    return [SWIN, DONUT_SWIN]
