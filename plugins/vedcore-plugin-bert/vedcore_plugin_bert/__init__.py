"""BERT text decoder for vedcore (Devlin et al., 2019, arXiv:1810.04805)."""

from vedcore import Backbone, hookimpl
from vedcore_plugin_bert.config import BertConfig
from vedcore_plugin_bert.model import BertForCausalLM

__all__ = ["BERT", "BertConfig", "BertForCausalLM"]

BERT = Backbone(name="bert", role="decoder", model=BertForCausalLM, protocol=2)


@hookimpl
def vedcore_plugin() -> list[Backbone]:
    """The backbones of this package."""
    return [BERT]
