from vedcore.testing import BackboneContract
from vedcore_plugin_distilbert import DISTILBERT


class TestDistilbert(BackboneContract):
    record = DISTILBERT
