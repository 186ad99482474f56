"""DistilBERT text decoder for vedcore (Sanh et al., 2019, arXiv:1910.01108)."""

from vedcore import Backbone, hookimpl
from vedcore_plugin_distilbert.config import DistilBertConfig
from vedcore_plugin_distilbert.model import DistilBertForCausalLM

__all__ = ["DISTILBERT", "DistilBertConfig", "DistilBertForCausalLM"]

DISTILBERT = Backbone(name="distilbert", role="decoder", model=DistilBertForCausalLM, protocol=2)


@hookimpl
def vedcore_plugin() -> list[Backbone]:
    """The backbones of this package."""
    return [DISTILBERT]
