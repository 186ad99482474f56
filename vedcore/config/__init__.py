"""Configs: attrs classes, one strict cattrs converter, and the config.json files of transformers.

``@model_config("vit")`` turns a class of annotated fields into the config of an architecture. Its arguments are
keyword-only, and each value is checked when the config is built and when a field is assigned. ``@settings`` does the same for
settings that are not an architecture, and ``@strict`` for files that only vedcore writes. The base class ``Config`` reads and
writes JSON. The module ``field`` has a factory for each kind of field.
"""

from typing import TYPE_CHECKING, Any

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

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """The factories of ``field`` by their own names, as in earlier releases: ``from vedcore.config import integer``."""
        if name.startswith("_") or name not in vars(field):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(field, name)
