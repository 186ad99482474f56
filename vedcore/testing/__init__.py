"""The contract as tests: the laws that every backbone obeys, ours and yours.

    from vedcore.testing import BackboneContract
    from vedcore_plugin_vit import VIT

    class TestViT(BackboneContract):
        record = VIT

or in one call, ``check_backbone(VIT)``, which returns a Report. What the tests need to know about a backbone (small configs,
the class in transformers to compare with) stands in a ``BackboneSpec`` in the ``testing`` module of its package;
``transformer_fields`` and ``image_fields`` are strategies for its configs. ``causal_mask`` is for steps that your own tests
build. ``SegmenterContract`` has the laws of a segmenter. Install what the tests need with ``pip install 'vedcore[test]'``;
comparing with transformers needs transformers too.
"""

from importlib.util import find_spec

from vedcore.errors import PluginError

if find_spec("hypothesis") is None:
    raise PluginError("vedcore.testing needs hypothesis: pip install 'vedcore[test]'")

from vedcore.contract.types import causal_mask
from vedcore.testing.checks import CHECKS, Check
from vedcore.testing.contract import BackboneContract, Outcome, Report, check_backbone
from vedcore.testing.segmenter import SegmenterContract
from vedcore.testing.spec import BackboneSpec, spec_of
from vedcore.testing.strategies import image_fields, transformer_fields

__all__ = [
    "CHECKS",
    "BackboneContract",
    "BackboneSpec",
    "Check",
    "Outcome",
    "Report",
    "SegmenterContract",
    "causal_mask",
    "check_backbone",
    "image_fields",
    "spec_of",
    "transformer_fields",
]
