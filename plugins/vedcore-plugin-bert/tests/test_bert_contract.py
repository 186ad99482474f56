from vedcore.testing import BackboneContract
from vedcore_plugin_bert import BERT


class TestBert(BackboneContract):
    record = BERT
