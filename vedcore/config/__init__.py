"""Configs: attrs classes, one strict cattrs converter, and the config.json files of transformers.

``@model_config("vit")`` makes a class of annotated fields the config of an architecture: keyword-only, each value checked
when the config is built and when it is assigned. ``@settings`` does the same for what is not an architecture, ``@strict``
for a file that nobody else writes. The base ``Config`` reads and writes JSON. The factories of fields are in ``field``.
"""

from vedcore.config import field
from vedcore.config.base import Config, model_config, settings
from vedcore.config.convert import converter, from_dict, strict, to_dict
from vedcore.config.field import (
    MAX_HEADS,
    MAX_LAYERS,
    MAX_WIDTH,
    Heads,
    Size,
    TokenIds,
    as_float,
    as_tuple,
    id_tuple,
    pair,
)

__all__ = [
    "MAX_HEADS",
    "MAX_LAYERS",
    "MAX_WIDTH",
    "Config",
    "Heads",
    "Size",
    "TokenIds",
    "as_float",
    "as_tuple",
    "converter",
    "field",
    "from_dict",
    "id_tuple",
    "model_config",
    "pair",
    "settings",
    "strict",
    "to_dict",
]
