from vedcore.testing import BackboneContract
from vedcore_plugin_beit import BEIT


class TestBeit(BackboneContract):
    record = BEIT
