"""A whole model in a checkpoint folder: its sections, loading and saving."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vedcore.errors import ConfigError, foreign
from vedcore.generation import GenerationConfig
from vedcore.model.adapters import Inserted
from vedcore.model.config import VisionEncoderDecoderConfig, refused_by_transformers
from vedcore.model.reference import reference_model
from vedcore.model.token_ids import ID_NAMES
from vedcore.part import without_storage
from vedcore.storage.files import staged, write_json
from vedcore.storage.keymap import KeyMap, Rule
from vedcore.storage.loading import load_sections
from vedcore.storage.own import OWN_FILE, settings_to_keep
from vedcore.storage.saving import check_loadable, tensors_to_write
from vedcore.storage.sections import Section
from vedcore.storage.tensors import WEIGHT_FILES, write_tensors

BRIDGE_NAMES = KeyMap(rules=(Rule("enc_to_dec_proj", "projection"),))


def sections_of(model: Any) -> list[Section]:
    """The sections of a checkpoint of ``model``: encoder, decoder, the layers of an adapter, and the bridge."""
    encoder, decoder = model.encoder, model.decoder
    inserted: list[Section] = []
    without: tuple[str, ...] = ()
    if isinstance(decoder.cross, Inserted):
        inserted, without = [Section("cross_attention.", decoder.cross, KeyMap(rules=()))], ("cross",)
    return [
        *(replace(section, prefix=f"encoder.{section.prefix}") for section in encoder.sections()),
        *(replace(section, prefix=f"decoder.{section.prefix}", without=without) for section in decoder.sections()),
        *inserted,
        Section("", model.bridge, BRIDGE_NAMES),
    ]


def load(
    build: Callable[[VisionEncoderDecoderConfig], Any],
    folder: Path,
    config: VisionEncoderDecoderConfig | None,
    *,
    allow_pickle: bool,
    dtype: torch.dtype | None,
) -> tuple[Any, GenerationConfig]:
    """The model that ``build`` makes of the config in ``folder``, or of ``config``, with the weights in ``folder``."""
    config = VisionEncoderDecoderConfig.from_pretrained(folder) if config is None else config
    generation_config = GenerationConfig.from_pretrained(folder)
    # Sizes that no tensor can have are an error of torch's; sizes that no memory has are shapes that no file has.
    message = f"{folder}: no model can be built from config.json"
    with foreign(ConfigError, message, file=folder / "config.json"), without_storage():
        model = build(config)
    load_sections(model.sections(), folder, allow_pickle=allow_pickle, dtype=dtype)
    return model, generation_config


def save(model: Any, folder: str | os.PathLike[str], untrained: Mapping[str, Any], max_shard_size: int | str) -> None:
    """Write config.json, generation_config.json, vedcore.json and the weights of ``model``.

    untrained: the checksums of the parameters that hold their first values.
    """
    reference = reference_model(model)
    if reference is not None:
        check_loadable(model, reference, folder)
    tensors = tensors_to_write(model.sections())
    config = {**model.config.to_dict(), "dtype": str(model.dtype).removeprefix("torch.")}
    if isinstance(model.decoder.cross, Inserted):
        config = refused_by_transformers(config)
    generation = model.generation_config
    ids = {name: getattr(model.config, name) for name in ID_NAMES if getattr(generation, name) is None}
    with staged(folder, replaces=(*WEIGHT_FILES, OWN_FILE)) as stage:
        own = settings_to_keep(Path(folder), model.parameters())
        own |= {"untrained": dict(untrained)} if untrained else {}
        if own:
            write_json(stage / OWN_FILE, own)
        write_json(stage / "config.json", {**config, "architectures": ["VisionEncoderDecoderModel"]})
        generation.replace(**ids).write(stage)
        write_tensors(stage, tensors, max_shard_size)
