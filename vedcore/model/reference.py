"""The model that loading would build from the config of another: what is saved is compared with it first."""

from __future__ import annotations

from typing import Any

from vedcore.errors import PluginError
from vedcore.model.part_config import build
from vedcore.part import Part, reference_without_storage


def reference_model(model: Any) -> Any | None:
    """A model without storage of the same config, with the adapter's layers and without the pruned heads.

    Parts come from the plugins of their model types, as in loading; a ``Part`` that no plugin supplies comes from its own
    class. None if a part can be built in neither way.
    """

    def rebuilt() -> Any:
        encoder, decoder = _part(model.encoder, "encoder"), _part(model.decoder, "decoder")
        return None if encoder is None or decoder is None else type(model)(model.config, encoder, decoder)

    return reference_without_storage(rebuilt)


def _part(part: Any, role: str) -> Any | None:
    try:
        return build(part.config, role)
    except PluginError:
        return type(part)(part.config) if isinstance(part, Part) else None
