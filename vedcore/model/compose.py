"""From two sources to one model: both parts, the config, and the token ids."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from vedcore.errors import ConfigError
from vedcore.generation import GenerationConfig
from vedcore.model.config import VisionEncoderDecoderConfig
from vedcore.model.part_spec import PartSpec, cast
from vedcore.model.seeding import seeded
from vedcore.model.token_ids import ID_NAMES, find_token_ids


def compose(
    build: Callable[[VisionEncoderDecoderConfig, Any, Any], Any],
    encoder_spec: PartSpec,
    decoder_spec: PartSpec,
    fields: Mapping[str, Any],
    *,
    adapter: str,
    seed: int | torch.Generator | None,
    allow_pickle: bool,
    dtype: torch.dtype | None,
) -> tuple[Any, set[int], GenerationConfig]:
    """The model that ``build`` makes of both parts, the ids of its parameters that are not random, and how it generates.

    fields: keywords as ``split_fields`` takes them. seed: determines all random values.
    """
    encoder_fields, decoder_fields, ids = split_fields(fields)
    with seeded(seed):
        encoder = replace(encoder_spec, fields=encoder_fields).build(allow_pickle=allow_pickle, dtype=dtype)
        decoder = replace(decoder_spec, fields=decoder_fields).build(allow_pickle=allow_pickle, dtype=dtype)
        config = VisionEncoderDecoderConfig(
            encoder=encoder.module.config, decoder=decoder.module.config, adapter=adapter, **ids
        )
        found, generation_config = find_token_ids(decoder, config.decoder, ids)
        for name, value in found.items():
            setattr(config, name, value)
        if dtype is None:
            _check_places(encoder.module, decoder.module)
        model = build(config, encoder.module, decoder.module)
    if dtype is not None:
        cast(model, dtype)
    return model, encoder.known | decoder.known, generation_config


def _check_places(encoder: Any, decoder: Any) -> None:
    if (encoder.dtype, encoder.device) != (decoder.dtype, decoder.device):
        raise ConfigError(
            f"the encoder is {encoder.dtype} on {encoder.device}, the decoder {decoder.dtype} on {decoder.device}; pass "
            "dtype= to bring both to one type, and move built models to one device",
            field="dtype",
            expected=f"{encoder.dtype} on {encoder.device}",
            found=f"{decoder.dtype} on {decoder.device}",
        )


def split_fields(fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Split keywords into fields of the encoder's config, fields of the decoder's, and token ids.

    Raises TypeError for any other name.
    """
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
