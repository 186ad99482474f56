from vedcore.testing import BackboneContract
from vedcore_plugin_bart import BART, MBART


class TestBart(BackboneContract):
    record = BART


class TestMbart(BackboneContract):
    record = MBART
