from vedcore.testing import BackboneContract
from vedcore_plugin_deit import DEIT


class TestDeit(BackboneContract):
    record = DEIT
