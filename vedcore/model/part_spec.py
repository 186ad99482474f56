"""A part of a model to be: a folder, a hub id, a config or a built model, and how it becomes a module.

A decoder's file may lack all of cross-attention or all of the head, which then start random. Whatever else a file lacks is
refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import nn

from vedcore.errors import ConfigError, foreign
from vedcore.model.part_config import IMPLIED_BY_ROLE, MODEL_TYPE, OWN_MODEL_TYPE, Role, build, part_config
from vedcore.part import without_storage
from vedcore.registry import registry
from vedcore.storage.files import read_json
from vedcore.storage.hub import resolve
from vedcore.storage.loading import load_sections

_MAY_BE_MISSING = ("cross.", "lm_head.")
"""Prefixes of our names in a decoder."""


@dataclass(slots=True)
class BuiltPart:
    """A module, the ids of its parameters that are not random, and the folder that it was loaded from."""

    module: Any
    known: set[int]
    folder: Path | None = None


@dataclass(slots=True)
class PartSpec:
    """What a caller says about one part. ``fields`` are fields of its config."""

    role: Role
    name: Any = None
    revision: str | None = None
    model: Any = None
    config: Any = None
    fields: dict[str, Any] = field(default_factory=dict)

    def build(self, *, allow_pickle: bool, dtype: torch.dtype | None) -> BuiltPart:
        """The part. Raises ConfigError for too few or too many arguments, CheckpointError for a file that does not fit."""
        role = self.role
        if self.model is not None:
            return self._from_model()
        if self.name is None and self.config is None:
            raise ConfigError(
                f"no {role}: pass a folder or a hub id ({role}_pretrained_model_name_or_path), {role}_model= or "
                f"{role}_config=",
                field=f"{role}_pretrained_model_name_or_path",
            )
        if self.name is None:
            config = self._with_fields(part_config(self.config, role, registry()))
            with foreign(ConfigError, f"no {role} can be built from its config", field=f"{role}_config"):
                module = build(config, role)
            if dtype is not None:
                cast(module, dtype)
            return BuiltPart(module, set())
        folder = resolve(self.name, revision=self.revision, allow_pickle=allow_pickle)
        data, is_whole = _stored_config(folder, role)
        given = self.config if self.config is not None else data
        config = self._with_fields(part_config(given, role, registry(), str(folder / "config.json")))
        return _load(config, role, folder, is_whole, allow_pickle=allow_pickle, dtype=dtype)

    def _from_model(self) -> BuiltPart:
        role, module = self.role, self.model
        others = (f"{role}_pretrained_model_name_or_path", self.name), (f"{role}_config", self.config)
        for name, value in (*others, *((f"{role}_{name}", True) for name in self.fields)):
            if value is not None:
                raise ConfigError(
                    f"{role}_model is already built, so {name} would have no effect; leave one of the two out",
                    field=name,
                )
        needed = ("config", *(("sizes", "embed", "lm_head") if role == "decoder" else ("hidden_size",)))
        missing = [name for name in needed if not hasattr(module, name)]
        if not isinstance(module, nn.Module) or missing:
            kind = type(module).__name__
            raise ConfigError(
                f"{role}_model is a {kind}, which is not {'an' if role == 'encoder' else 'a'} {role} of vedcore: it has no "
                f"{', '.join(missing)}",
                field=f"{role}_model",
                expected=f"a module with {', '.join(needed)}",
                found=kind,
            )
        return BuiltPart(module, {id(parameter) for parameter in module.parameters()})

    def _with_fields(self, config: Any) -> Any:
        fields = dict(self.fields)
        if self.role == "decoder":
            for name in IMPLIED_BY_ROLE:
                if name in fields and fields.pop(name) is not True:
                    raise ConfigError(
                        f"decoder_{name} must be true: the decoder of this model reads from left to right and attends to "
                        "the image",
                        field=f"decoder_{name}",
                        expected=True,
                    )
        known = {attribute.name for attribute in attrs.fields(type(config))} - {"extra"}
        for name in fields:
            if name not in known:
                raise TypeError(f"{self.role}_{name}: {type(config).__name__} has no field {name!r}")
        return config.replace(**fields) if fields else config


def cast(module: nn.Module, dtype: torch.dtype) -> None:
    """Bring the floating-point tensors that a checkpoint holds to ``dtype``. Shared tensors stay shared."""
    for tensor in module.state_dict(keep_vars=True).values():
        if tensor.is_floating_point():
            tensor.data = tensor.data.to(dtype)


def _stored_config(folder: Path, role: Role) -> tuple[Mapping[str, Any], bool]:
    """The dict of the part in config.json, and whether the folder holds a whole model."""
    path = folder / "config.json"
    data = read_json(path)
    model_type = data.get("model_type")
    if model_type not in (MODEL_TYPE, OWN_MODEL_TYPE):
        return data, False
    if role == "decoder" and model_type == OWN_MODEL_TYPE:
        raise ConfigError(
            f"{folder}: its decoder has layers that the adapter {data.get('adapter', 'linear')!r} made for this model, or "
            "pruned heads; load the whole model with VisionEncoderDecoderModel.from_pretrained",
            file=path,
            field="adapter",
        )
    if not isinstance(data.get(role), Mapping):
        raise ConfigError(f"{path}: it has no {role}", file=path, field=role)
    return data[role], True


def _load(
    config: Any, role: Role, folder: Path, is_whole: bool, *, allow_pickle: bool, dtype: torch.dtype | None
) -> BuiltPart:
    """The part with the weights in ``folder``."""
    # Without storage at first: a file that does not fit is refused before memory of its size is allocated.
    message = f"{folder}: no {role} can be built from config.json"
    with foreign(ConfigError, message, file=folder / "config.json"), without_storage():
        module = build(config, role)
    sections = module.sections()
    if is_whole:
        sections = [replace(section, prefix=f"{role}.{section.prefix}") for section in sections]
    load_sections(
        sections,
        folder,
        allow_pickle=allow_pickle,
        dtype=dtype,
        missing_ok=_MAY_BE_MISSING if role == "decoder" else (),
        only=(f"{role}.",) if is_whole else None,
    )
    loaded = [parameter for parameter in module.parameters() if not parameter.is_meta]
    missing = [name for name, p in module.named_parameters(remove_duplicate=False) if p.is_meta]
    if missing:
        stored = next((parameter.dtype for parameter in loaded if parameter.is_floating_point()), torch.float32)
        fresh = build(config, role)
        cast(fresh, stored)
        values = dict(fresh.named_parameters(remove_duplicate=False))
        for name in missing:
            owner, _, leaf = name.rpartition(".")
            module.get_submodule(owner)._parameters[leaf] = values[name]
    return BuiltPart(module, {id(parameter) for parameter in loaded}, folder)
