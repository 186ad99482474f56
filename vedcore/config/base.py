"""``Config`` and the decorators that make a class of annotated fields a config."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, dataclass_transform

import attrs

from vedcore.config.convert import PRUNED, from_dict, to_dict
from vedcore.config.field import Heads, head_lists, is_mapping
from vedcore.storage.files import read_json

C = TypeVar("C")


class Config:
    """What every config has beside its own fields."""

    __slots__ = ()

    model_type: ClassVar[str]
    extra: dict[str, Any]
    """Fields of a published file on which nothing here depends: kept, and written back."""
    pruned_heads: Heads
    """Of an architecture: the heads of self-attention that were taken away."""
    pruned_cross_heads: Heads
    """Of an architecture: those of cross-attention."""

    def to_dict(self) -> dict[str, Any]:
        """The config as it stands in its JSON file."""
        return to_dict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "config") -> Self:
        """The config that ``data`` describes; fields that the class does not know are kept in ``extra``.

        Raises ConfigError: each wrong field, what it must be and what was found; ``where`` stands in front.
        """
        return from_dict(cls, data, where)

    def replace(self, **fields: Any) -> Self:
        """A copy with these fields set, each checked; TypeError for a name that is no field."""
        changed = copy.copy(self)
        known = {attribute.name for attribute in attrs.fields(type(self))}  # type: ignore[arg-type]
        for name, value in {"extra": dict(self.extra), **fields}.items():
            if name not in known:
                raise TypeError(f"{type(self).__name__} has no field {name!r}")
            setattr(changed, name, value)
        return changed

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> Self:
        """The config of the config.json in ``folder``."""
        path = Path(folder) / "config.json"
        return cls.from_dict(read_json(path), str(path))


@dataclass_transform(kw_only_default=True, field_specifiers=(attrs.field,))
def model_config(model_type: str) -> Callable[[type[C]], type[C]]:
    """Make a class of annotated fields the config of the architecture ``model_type``."""

    def decorate(cls: type[C]) -> type[C]:
        cls.model_type = model_type  # type: ignore[attr-defined]
        for name in PRUNED:
            cls.__annotations__ = {**cls.__annotations__, name: Heads}
            setattr(cls, name, head_lists())
        return settings(cls)

    return decorate


@dataclass_transform(kw_only_default=True, field_specifiers=(attrs.field,))
def settings(cls: type[C]) -> type[C]:
    """Make a class of annotated fields a group of checked settings that keeps unknown fields in ``extra``."""
    cls.__annotations__ = {**cls.__annotations__, "extra": dict[str, Any]}
    cls.extra = attrs.field(factory=dict, repr=False, validator=is_mapping)  # type: ignore[attr-defined]
    return attrs.define(kw_only=True)(cls)
