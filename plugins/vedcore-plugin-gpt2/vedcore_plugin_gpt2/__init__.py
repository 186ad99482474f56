"""GPT-2 text decoder for vedcore (Radford et al., 2019)."""

from vedcore import Backbone, hookimpl
from vedcore_plugin_gpt2.config import GPT2Config
from vedcore_plugin_gpt2.model import GPT2LMHeadModel

__all__ = ["GPT2", "GPT2Config", "GPT2LMHeadModel"]

GPT2 = Backbone(name="gpt2", role="decoder", model=GPT2LMHeadModel, protocol=2)


@hookimpl
def vedcore_plugin() -> list[Backbone]:
    """The backbones of this package."""
    return [GPT2]
