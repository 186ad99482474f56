from vedcore.testing import BackboneContract
from vedcore_plugin_vit import VIT


class TestVit(BackboneContract):
    record = VIT
