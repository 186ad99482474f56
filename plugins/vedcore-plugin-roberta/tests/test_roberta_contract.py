from vedcore.testing import BackboneContract
from vedcore_plugin_roberta import ROBERTA, XLM_ROBERTA


class TestRoberta(BackboneContract):
    record = ROBERTA


class TestXlmRoberta(BackboneContract):
    record = XLM_ROBERTA
