"""``Config``, the base class of configs, and the decorators that turn a class of annotated fields into a config."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, dataclass_transform

import attrs

from vedcore.config.convert import from_dict, to_dict
from vedcore.config.field import Heads, head_lists, is_mapping
from vedcore.errors import ConfigError

C = TypeVar("C")


class Config:
    """The base class of configs: reading and writing JSON, and changed copies."""

    __slots__ = ()

    model_type: ClassVar[str]
    inside: ClassVar[Mapping[str, str]] = {}
    """The files of larger models that contain this config: the key that holds it, by the model type of the file."""
    extra: dict[str, Any]
    """Fields of a published file that the class does not know. They are kept and written back."""
    pruned_heads: Heads
    """Only in configs of architectures: the removed heads of self-attention, by layer."""
    pruned_cross_heads: Heads
    """Only in configs of architectures: the removed heads of cross-attention, by layer."""

    def to_dict(self) -> dict[str, Any]:
        """The content of the config's JSON file."""
        return to_dict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "config") -> Self:
        """The config with the fields in ``data``. Fields that the class does not know are kept in ``extra``.

        In the file of a larger model (see ``inside``) the fields are those of the nested config.
        where: what ``data`` is, a file or an argument; errors start with it.
        Raises ConfigError, which lists each wrong field with the expected and the found value.
        """
        key = cls.inside.get(data.get("model_type", "")) if isinstance(data, Mapping) else None
        if key is None:
            return from_dict(cls, data, where)
        nested = data.get(key)
        if not isinstance(nested, Mapping):
            raise ConfigError(
                f"{where}: the file of a {data['model_type']!r} model needs {key}, the fields of its {cls.model_type!r}; got "
                f"{nested!r}",
                file=where,
                field=key,
                expected="a table of fields",
                found=nested,
            )
        return from_dict(cls, nested, where)

    def replace(self, **fields: Any) -> Self:
        """A copy with these fields set. Raises ConfigError for a wrong value and TypeError for an unknown field."""
        changed = copy.copy(self)
        known = {attribute.name for attribute in attrs.fields(type(self))}  # type: ignore[arg-type]
        for name, value in {"extra": dict(self.extra), **fields}.items():
            if name not in known:
                raise TypeError(f"{type(self).__name__} has no field {name!r}")
            setattr(changed, name, value)
        return changed

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> Self:
        """The config in the config.json of ``folder``. Raises CheckpointNotFound or ConfigError."""
        from vedcore.storage.files import read_json  # here, because bricks use configs and import no file code

        path = Path(folder) / "config.json"
        return cls.from_dict(read_json(path), str(path))


@dataclass_transform(kw_only_default=True, field_specifiers=(attrs.field,))
def model_config(model_type: str, *, inside: Mapping[str, str] | None = None) -> Callable[[type[C]], type[C]]:
    """Turn a class of annotated fields into the config of the architecture ``model_type``.

    inside: the larger models whose config.json contains this config, and under which key: ``{"siglip": "vision_config"}``.
    Their model types need entry points, too. The class also gets the fields of ``vedcore.nn.pruning``.
    """

    def decorate(cls: type[C]) -> type[C]:
        cls.model_type = model_type  # type: ignore[attr-defined]
        cls.inside = dict(inside or {})  # type: ignore[attr-defined]
        _add_field(cls, "pruned_heads", Heads, head_lists())
        _add_field(cls, "pruned_cross_heads", Heads, head_lists())
        return settings(cls)

    return decorate


@dataclass_transform(kw_only_default=True, field_specifiers=(attrs.field,))
def settings(cls: type[C]) -> type[C]:
    """Turn a class of annotated fields into a group of checked settings that keeps unknown fields in ``extra``."""
    _add_field(cls, "extra", dict[str, Any], attrs.field(factory=dict, repr=False, validator=is_mapping))
    return attrs.define(kw_only=True)(cls)


def _add_field(cls: type, name: str, annotation: Any, field: Any) -> None:
    cls.__annotations__ = {**cls.__annotations__, name: annotation}
    setattr(cls, name, field)
