from vedcore.testing import BackboneContract
from vedcore_plugin_gpt2 import GPT2


class TestGpt2(BackboneContract):
    record = GPT2
