"""BART and MBart text decoders for vedcore (Lewis et al., arXiv:1910.13461; Liu et al., arXiv:2001.08210)."""

from vedcore import Backbone, hookimpl
from vedcore_plugin_bart.config import BartConfig, MBartConfig
from vedcore_plugin_bart.model import BartForCausalLM, MBartForCausalLM

__all__ = ["BART", "MBART", "BartConfig", "BartForCausalLM", "MBartConfig", "MBartForCausalLM"]

BART = Backbone(name="bart", role="decoder", model=BartForCausalLM, protocol=2)
MBART = Backbone(name="mbart", role="decoder", model=MBartForCausalLM, protocol=2)


@hookimpl
def vedcore_plugin() -> list[Backbone]:
    """The backbones of this package."""
    return [BART, MBART]
