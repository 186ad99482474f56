"""TrOCR text decoder for vedcore (Li et al., arXiv:2109.10282)."""

from vedcore import Backbone, hookimpl
from vedcore_plugin_trocr.config import TrOCRConfig
from vedcore_plugin_trocr.model import TrOCRForCausalLM

__all__ = ["TROCR", "TrOCRConfig", "TrOCRForCausalLM"]

TROCR = Backbone(name="trocr", role="decoder", model=TrOCRForCausalLM, protocol=2)


@hookimpl
def vedcore_plugin() -> list[Backbone]:
    """The backbones of this package."""
    return [TROCR]
