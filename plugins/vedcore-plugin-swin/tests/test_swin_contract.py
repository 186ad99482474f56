from vedcore.testing import BackboneContract
from vedcore_plugin_swin import DONUT_SWIN, SWIN


class TestSwin(BackboneContract):
    record = SWIN


class TestDonutSwin(BackboneContract):
    record = DONUT_SWIN
    exclude = {"reference-loads": "transformers wants an index in DonutSwin's files that follows from the config"}
