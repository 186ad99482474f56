"""RoBERTa and XLM-RoBERTa text decoders for vedcore.

Liu et al., 2019, arXiv:1907.11692; Conneau et al., 2020, arXiv:1911.02116.
"""

from vedcore import Backbone, hookimpl
from vedcore_plugin_roberta.config import RobertaConfig, XLMRobertaConfig
from vedcore_plugin_roberta.model import RobertaForCausalLM, XLMRobertaForCausalLM

__all__ = [
    "ROBERTA",
    "XLM_ROBERTA",
    "RobertaConfig",
    "RobertaForCausalLM",
    "XLMRobertaConfig",
    "XLMRobertaForCausalLM",
]

ROBERTA = Backbone(name="roberta", role="decoder", model=RobertaForCausalLM, protocol=2)
XLM_ROBERTA = Backbone(name="xlm-roberta", role="decoder", model=XLMRobertaForCausalLM, protocol=2)


@hookimpl
def vedcore_plugin() -> list[Backbone]:
    """The backbones of this package."""
    return [ROBERTA, XLM_ROBERTA]
