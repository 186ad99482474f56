"""From two sources to one model: the parts of standalone checkpoints, what starts random and its checksums, the token ids.

A part comes from a folder or a hub id, from a config, or is built already. What a decoder's file lacks of cross-attention
and head starts random, as a whole or not at all; whatever else a file lacks is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import attrs
import torch
from torch import nn

from vedcore.errors import ConfigError, foreign
from vedcore.model.token_ids import ID_NAMES
from vedcore.part import without_storage
from vedcore.registry import Registry, registry
from vedcore.storage.files import read_json
from vedcore.storage.hub import resolve
from vedcore.storage.loading import load_sections

Role = Literal["encoder", "decoder"]
MODEL_TYPE = "vision-encoder-decoder"
OWN_MODEL_TYPE = "vedcore"
"""Of what transformers cannot represent (layers that an adapter made): it refuses the file instead of making them up."""

_NEW = ("cross.", "lm_head.")
"""What a decoder's file may lack, by our names."""
_SIDES = {"encoder": ("encoder.",), "decoder": ("decoder.",)}
_ROLE_SAYS = ("is_decoder", "add_cross_attention")


# Parts.


def part_config(value: Any, role: str, plugins: Registry, where: str | None = None) -> Any:
    """A config of a part, from itself or from the dict of a config.json, ready for its role."""
    if isinstance(value, Mapping):
        model_type = value.get("model_type")
        if not isinstance(model_type, str):
            named = where or f"the {role}'s config"
            raise ConfigError(
                f"{named} has no model_type; it names the architecture, for instance 'vit'",
                file=where,
                field="model_type",
            )
        model_type = model_type.removeprefix(f"{OWN_MODEL_TYPE}:")
        kind = plugins.backbone(model_type, role).config
        value = kind.from_dict({**value, "model_type": model_type}, where or role)
    if not isinstance(getattr(value, "model_type", None), str):
        raise ConfigError(
            f"the {role}'s config must be a config or the dict of one, got {type(value).__name__}",
            field=f"{role}_config",
        )
    if role == "decoder":
        if getattr(value, "add_cross_attention", None) is False:
            value = value.replace(add_cross_attention=True)
        implied = [name for name in _ROLE_SAYS if value.extra.get(name) is True]
        if implied:  # written for transformers; here the role says it
            value = value.replace(extra={k: v for k, v in value.extra.items() if k not in implied})
    return value


def build(config: Any, role: str) -> Any:
    """The model of a part's config, from the plugin that its model type names."""
    return registry().backbone(config.model_type, role).model(config)


def give_cross(decoder: Any, config: Any) -> None:
    """Cross-attention of its own kind for a decoder that was built without; ``config`` is its config with it."""
    if decoder.cross is not None or getattr(config, "add_cross_attention", None) is not True:
        return
    cross = type(decoder)(config).cross
    if cross is not None:
        weight = next(decoder.token_embedding.parameters())
        decoder.cross = cross.to(dtype=weight.dtype, device=weight.device).train(decoder.training)
        decoder.config = config


@dataclass(slots=True)
class Source:
    """A part: its module, the ids of the parameters that hold values of its own, and the folder that they are from."""

    module: Any
    known: set[int]
    folder: Path | None = None


@dataclass(slots=True, kw_only=True)
class Asked:
    """What a caller says on one part: a folder or a hub id, a built model or a config, and fields of the config."""

    role: Role
    name: Any = None
    revision: str | None = None
    model: Any = None
    config: Any = None
    fields: dict[str, Any] = field(default_factory=dict)

    def source(self, *, allow_pickle: bool, dtype: torch.dtype | None) -> Source:
        """The part. ConfigError if nothing or too much is said, CheckpointError if a file is not what its config asks for."""
        role = self.role
        if self.model is not None:
            return self._built()
        if self.name is None and self.config is None:
            raise ConfigError(
                f"no {role}: pass a folder or a hub id ({role}_pretrained_model_name_or_path), {role}_model= or "
                f"{role}_config=",
                field=f"{role}_pretrained_model_name_or_path",
            )
        if self.name is None:
            config = self._with_fields(part_config(self.config, role, registry()))
            with foreign(ConfigError, f"no {role} can be built from its config"):
                module = build(config, role)
            if dtype is not None:
                cast(module, dtype)
            return Source(module, set())
        folder = resolve(self.name, revision=self.revision, allow_pickle=allow_pickle)
        data, is_whole = _stored_config(folder, role)
        given = self.config if self.config is not None else data
        config = self._with_fields(part_config(given, role, registry(), str(folder / "config.json")))
        module = _loaded(config, role, folder, is_whole, allow_pickle=allow_pickle, dtype=dtype)
        return Source(module[0], module[1], folder)

    def _built(self) -> Source:
        role, module = self.role, self.model
        others = (f"{role}_pretrained_model_name_or_path", self.name), (f"{role}_config", self.config)
        for name, value in (*others, *((f"{role}_{name}", True) for name in self.fields)):
            if value is not None:
                raise ConfigError(
                    f"{role}_model is built already, so {name} would not be read; leave one of the two out",
                    field=name,
                )
        needed = ("config", "hidden_size", *(("seam", "lm_head") if role == "decoder" else ()))
        lacking = [name for name in needed if not hasattr(module, name)]
        if not isinstance(module, nn.Module) or lacking:
            raise ConfigError(
                f"{role}_model is a {type(module).__name__}, which is no {role}: no {', '.join(lacking)}",
                field=f"{role}_model",
                expected=needed,
                found=type(module),
            )
        return Source(module, {id(parameter) for parameter in module.parameters()})

    def _with_fields(self, config: Any) -> Any:
        fields = dict(self.fields)
        if self.role == "decoder":
            for name in _ROLE_SAYS:
                if name in fields and fields.pop(name) is not True:
                    raise ConfigError(
                        f"decoder_{name} must be true: a decoder here is one, and looks at the image",
                        field=f"decoder_{name}",
                        expected=True,
                        found=self.fields[name],
                    )
        known = {attribute.name for attribute in attrs.fields(type(config))} - {"extra"}
        for name in fields:
            if name not in known:
                raise TypeError(f"{self.role}_{name}: {type(config).__name__} has no field {name!r}")
        return config.replace(**fields) if fields else config


def split(fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Keywords -> fields of the encoder's config, of the decoder's, and token ids. TypeError for any other."""
    encoder: dict[str, Any] = {}
    decoder: dict[str, Any] = {}
    ids: dict[str, Any] = {}
    for name, value in fields.items():
        side, _, rest = name.partition("_")
        if name in ID_NAMES:
            ids[name] = value
        elif side in ("encoder", "decoder") and rest:
            (encoder if side == "encoder" else decoder)[rest] = value
        else:
            raise TypeError(
                f"from_encoder_decoder_pretrained() has no argument {name!r}; fields of the parts' configs are named "
                f"encoder_{name} and decoder_{name}"
            )
    return encoder, decoder, ids


def _stored_config(folder: Path, role: Role) -> tuple[Mapping[str, Any], bool]:
    """The part's dict in config.json, and whether the folder holds a whole model, of which it is one part."""
    path = folder / "config.json"
    data = read_json(path)
    model_type = data.get("model_type")
    if model_type not in (MODEL_TYPE, OWN_MODEL_TYPE):
        return data, False
    if role == "decoder" and model_type == OWN_MODEL_TYPE:
        raise ConfigError(
            f"{folder}: its decoder has layers that the adapter {data.get('adapter', 'linear')!r} made and no other model "
            "has, or pruned heads; load the whole with VisionEncoderDecoderModel.from_pretrained",
            file=folder,
        )
    if not isinstance(data.get(role), Mapping):
        raise ConfigError(f"{path}: no {role} in it", file=path, field=role)
    return data[role], True


def _loaded(
    config: Any, role: Role, folder: Path, is_whole: bool, *, allow_pickle: bool, dtype: torch.dtype | None
) -> tuple[Any, set[int]]:
    """The part with the weights in ``folder``, and the ids of the parameters that were there."""
    # Without storage first: a file that does not fit is refused before anything of its size is made.
    with foreign(ConfigError, f"{folder}: no {role} can be built from config.json"), without_storage():
        module = build(config, role)
    sections = module.sections()
    if is_whole:
        sections = [replace(section, prefix=f"{role}.{section.prefix}") for section in sections]
    load_sections(
        sections,
        folder,
        allow_pickle=allow_pickle,
        dtype=dtype,
        missing_ok=_NEW if role == "decoder" else (),
        only=_SIDES[role] if is_whole else None,
    )
    loaded = [parameter for parameter in module.parameters() if not parameter.is_meta]
    lacking = [name for name, p in module.named_parameters(remove_duplicate=False) if p.is_meta]
    if lacking:
        stored = next((parameter.dtype for parameter in loaded if parameter.is_floating_point()), torch.float32)
        fresh = build(config, role)
        cast(fresh, stored)
        values = dict(fresh.named_parameters(remove_duplicate=False))
        for name in lacking:
            owner, _, leaf = name.rpartition(".")
            module.get_submodule(owner)._parameters[leaf] = values[name]
    return module, {id(parameter) for parameter in loaded}


def cast(module: nn.Module, dtype: torch.dtype) -> None:
    """Bring the floating-point tensors that a checkpoint holds to ``dtype``; shared ones stay shared."""
    for tensor in module.state_dict(keep_vars=True).values():
        if tensor.is_floating_point():
            tensor.data = tensor.data.to(dtype)


@contextmanager
def seeded(seed: int | torch.Generator | None) -> Iterator[None]:
    """What starts random in here follows from ``seed`` alone, and torch's own state is left as it was.

    A generator, or torch's state where there is no seed, is drawn from once. ConfigError for another kind of seed.
    """
    if seed is None or isinstance(seed, torch.Generator):
        device = "cpu" if seed is None else seed.device
        number = int(torch.randint(2**62, (), generator=seed, device=device))
    elif type(seed) is int and -(2**63) <= seed < 2**63:
        number = seed
    else:
        raise ConfigError(
            f"seed must be an int of 64 bits, a torch.Generator or None, got {seed!r}", field="seed", found=seed
        )
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(number)
        yield
