from vedcore.testing import BackboneContract
from vedcore_plugin_trocr import TROCR


class TestTrocr(BackboneContract):
    record = TROCR
