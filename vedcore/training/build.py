"""From the ``[model]`` table of a recipe to a reader: a model, its processor and its rule for cutting long lines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from vedcore.config import TokenIds
from vedcore.errors import ConfigError
from vedcore.model import VisionEncoderDecoderModel
from vedcore.reader import Processor, Reader, check_layout, locate
from vedcore.text import Tokenizer
from vedcore.training.recipe import ModelSettings
from vedcore.vision import CutRule, ImageProcessor


def build_reader(settings: ModelSettings, seed: int) -> Reader:
    """The reader that ``settings`` describe, with float32 weights. Random weights depend only on ``seed``.

    Raises ConfigError, CheckpointError, TokenizerError or PluginNotFound.
    """
    reader = _composed(settings, seed) if settings.checkpoint is None else _continued(settings, seed)
    model = reader.model
    if settings.add_characters:
        with _errors_in("model"):
            tokenizer = model.add_characters(reader.processor.tokenizer, settings.add_characters, seed=seed)
        reader.processor.tokenizer = tokenizer
    if settings.generation:
        with _errors_in("model.generation"):
            model.generation_config = model.generation_config.with_fields(**settings.generation)
    model.generation_config = model.generation_config.with_default_length(model.decoder.sizes.max_positions)
    if settings.cut:
        with _errors_in("model.cut"):
            reader.cut_rule = CutRule(**settings.cut)
    if settings.layout is not None:
        with _errors_in("model.layout"):
            reader.layout = check_layout(settings.layout)
    if reader.processor.image_processor.output_size is None:
        raise ConfigError(
            "the image processor returns images of unequal sizes, which cannot form a batch; set its size to a height and a "
            "width",
            field="model.image_processor.size",
            expected="a height and a width",
        )
    return reader


def _continued(settings: ModelSettings, seed: int) -> Reader:
    reader = Reader.load(str(settings.checkpoint), dtype=torch.float32, prepare=False)
    if settings.image_processor is not None:
        reader.processor.image_processor = _image_processor(settings.image_processor)
    if settings.tokenizer is not None:
        tokenizer = Tokenizer.from_pretrained(locate(settings.tokenizer))
        reader.model.replace_tokenizer(reader.processor.tokenizer, tokenizer, seed=seed)
        reader.processor.tokenizer = tokenizer
    return reader


def _composed(settings: ModelSettings, seed: int) -> Reader:
    tokenizer = Tokenizer.from_pretrained(locate(str(settings.tokenizer)))
    arguments: dict[str, Any] = {"adapter": settings.adapter, "seed": seed, "dtype": torch.float32}
    for role in ("encoder", "decoder"):
        part = getattr(settings, role)
        if isinstance(part, str):
            arguments[f"{role}_pretrained_model_name_or_path"] = locate(part)
        else:
            arguments[f"{role}_config"] = part
    if not isinstance(settings.decoder, str):
        arguments |= _ids_of(tokenizer)
    model = VisionEncoderDecoderModel.from_encoder_decoder_pretrained(**arguments)
    for name, value in _ids_of(tokenizer).items():
        if getattr(model.config, name) is None:
            setattr(model.config, name, value)
    return Reader(model, Processor(_image_processor(settings.image_processor), tokenizer))


def _ids_of(tokenizer: Tokenizer) -> dict[str, TokenIds]:
    """The token ids for a model that writes with ``tokenizer``, by their names in the model's config."""

    def first(*ids: int | None) -> int | None:
        return next((token for token in ids if token is not None), None)

    start = first(tokenizer.bos_token_id, tokenizer.cls_token_id)
    end = first(tokenizer.eos_token_id, tokenizer.sep_token_id)
    return {
        "decoder_start_token_id": start,
        "bos_token_id": start,
        "eos_token_id": end,
        "pad_token_id": first(tokenizer.pad_token_id, end),
    }


def _image_processor(source: str | dict[str, Any]) -> ImageProcessor:
    if isinstance(source, str):
        return ImageProcessor.from_pretrained(locate(source))
    return ImageProcessor.from_dict(source, "model.image_processor")


@contextmanager
def _errors_in(table: str) -> Iterator[None]:
    """Turn what is wrong with a table of the recipe into a ConfigError that starts with the name of the table."""
    try:
        yield
    except (ConfigError, TypeError, OverflowError) as cause:  # an unknown name, an int too large for a float
        field = getattr(cause, "field", None)
        raise ConfigError(
            f"{table}: {cause}",
            field=table if field is None else f"{table}.{field}",
            expected=getattr(cause, "expected", None),
            found=getattr(cause, "found", None),
        ) from cause
