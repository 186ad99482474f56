"""Small Donut configs for tests, under the name that the contract looks for."""

from vedcore_plugin_swin.testing import donut_config_fields as config_fields

__all__ = ["config_fields"]
