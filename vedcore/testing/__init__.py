"""The contract as tests: what every backbone, ours and a stranger's, is held to.

    from vedcore.testing import BackboneContract
    from vedcore_plugin_vit import VIT

    class TestViT(BackboneContract):
        record = VIT

or in one call, ``check_backbone(VIT)``, which returns a Report. ``causal_mask`` is for steps that a test of yours builds.
Needs what ``pip install 'vedcore[test]'`` installs; parity needs transformers too.
"""

from importlib.util import find_spec

from vedcore.errors import PluginError

if find_spec("hypothesis") is None:
    raise PluginError("vedcore.testing needs hypothesis: pip install 'vedcore[test]'")

from vedcore.contract.types import causal_mask
from vedcore.testing.checks import CHECKS, Check
from vedcore.testing.contract import BackboneContract, Outcome, Report, check_backbone

__all__ = ["CHECKS", "BackboneContract", "Check", "Outcome", "Report", "causal_mask", "check_backbone"]
