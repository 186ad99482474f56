"""The config of a part, encoder or decoder, from what a caller or a config.json gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from vedcore.errors import ConfigError
from vedcore.registry import Registry, registry

Role = Literal["encoder", "decoder"]

MODEL_TYPE = "vision-encoder-decoder"

OWN_MODEL_TYPE = "vedcore"
"""The model type of what transformers cannot represent (layers of an adapter): it refuses the file instead of loading random
weights.
"""

IMPLIED_BY_ROLE = ("is_decoder", "add_cross_attention")
"""Fields of a decoder's config that are true in a vision-encoder-decoder model."""


def part_config(value: Any, role: str, plugins: Registry, where: str | None = None) -> Any:
    """The config of a part, from a config or from the dict of a config.json, with the fields that its role implies.

    where: the file that the dict is from, for messages.
    """
    if isinstance(value, Mapping):
        model_type = value.get("model_type")
        if not isinstance(model_type, str):
            raise ConfigError(
                f"{where or f'the config of the {role}'} has no model_type; it names the architecture, for example 'vit'",
                file=where,
                field="model_type",
            )
        model_type = model_type.removeprefix(f"{OWN_MODEL_TYPE}:")
        kind = plugins.backbone(
            model_type, role
        ).config  # the model type may be that of a larger model: see Config.inside
        value = kind.from_dict({**value, "model_type": model_type}, where or role)
    if not isinstance(getattr(value, "model_type", None), str):
        found = type(value).__name__
        raise ConfigError(
            f"the config of the {role} must be a config or a dict, got {found}",
            field=role,
            expected="a config",
            found=found,
        )
    if role == "decoder":
        if getattr(value, "add_cross_attention", None) is False:
            value = value.replace(add_cross_attention=True)
        implied = [name for name in IMPLIED_BY_ROLE if value.extra.get(name) is True]
        if implied:  # transformers needs them in the file, where they are written again
            value = value.replace(extra={k: v for k, v in value.extra.items() if k not in implied})
    return value


def build(config: Any, role: str) -> Any:
    """The model of a part's config, from the plugin that its model type names."""
    return registry().backbone(config.model_type, role).model(config)
