"""What a plugin says: one hook that returns records. The only concept between vedcore and a package that extends it.

A plugin is a module named by an entry point of the group ``vedcore.plugins``:

    [project.entry-points."vedcore.plugins"]
    vit = "vedcore_plugin_vit"           # named by what it supplies: a model type, an adapter's or a checkpoint's name

and the module holds ``@hookimpl def vedcore_plugin() -> list of records``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pluggy

if TYPE_CHECKING:
    from vedcore.contract.protocols import CrossAttentionAdapter

PROTOCOL = 1
"""The version of the contract in ``vedcore.protocols``. Records carry the one they were written for, as a literal."""

GROUP = "vedcore.plugins"

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """An architecture.

    name: the ``model_type`` in config.json. model: a ``vedcore.Part``. protocol: the version of the contract that the package
    was written for, as a literal. What the contract tests need to know beside this is a ``vedcore.testing.BackboneSpec``.
    """

    name: str
    role: Literal["encoder", "decoder"]
    model: type[Any]
    protocol: int

    @property
    def config(self) -> type[Any]:
        """The config class of the model."""
        return self.model.config_class  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """A way to join an encoder and a decoder, by the name that config.json gives it."""

    name: str
    adapter: CrossAttentionAdapter
    protocol: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checkpoint that a package ships: its name and its folder."""

    name: str
    folder: Path
    summary: str
    protocol: int


Record = Backbone | Adapter | Checkpoint


@hookspec
def vedcore_plugin() -> Sequence[Record]:
    """The records of all that this plugin supplies."""
    raise NotImplementedError
