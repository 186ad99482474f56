"""From the ``[model]`` table of a recipe to a reader: a model, its processor and its rule for cutting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from vedcore.config import TokenIds, id_tuple
from vedcore.errors import ConfigError
from vedcore.model import VisionEncoderDecoderModel
from vedcore.reader import Processor, Reader, locate
from vedcore.text import Tokenizer
from vedcore.training.data import Writer
from vedcore.training.recipe import Parts
from vedcore.vision import CutRule, ImageProcessor


def build_reader(parts: Parts, seed: int) -> Reader:
    """The reader that ``parts`` describe, its weights in float32; what is random follows from ``seed``.

    Raises ConfigError, CheckpointError, TokenizerError or PluginNotFound.
    """
    reader = _composed(parts, seed) if parts.checkpoint is None else _continued(parts, seed)
    model = reader.model
    if parts.generation:
        with _table("model.generation"):
            model.generation_config = model.generation_config.with_fields(**parts.generation)
    model.generation_config = model.generation_config.filling(model.decoder.max_positions)
    if parts.cut:
        with _table("model.cut"):
            reader.cut_rule = CutRule(**parts.cut)
    if reader.processor.image_processor.output_size is None:
        raise ConfigError(
            "the image processor gives images of unequal sizes, which make no batch: set its size to height and width"
        )
    return reader


def label_writer(reader: Reader) -> Writer:
    """What puts labels to the tokens that the reader's model learns to write."""
    ends = id_tuple(reader.model.config.eos_token_id)
    if not ends:
        raise ConfigError("the model has no eos_token_id, so it cannot learn to stop; set model.config.eos_token_id")
    return Writer(reader.processor.tokenizer, ends[0], reader.model.decoder.max_positions)


def _continued(parts: Parts, seed: int) -> Reader:
    reader = Reader.load(str(parts.checkpoint), dtype=torch.float32)
    if parts.image_processor is not None:
        reader.processor.image_processor = _image_processor(parts.image_processor)
    if parts.tokenizer is not None:
        tokenizer = Tokenizer.from_pretrained(locate(parts.tokenizer))
        reader.model.replace_tokenizer(reader.processor.tokenizer, tokenizer, seed=seed)
        reader.processor.tokenizer = tokenizer
    return reader


def _composed(parts: Parts, seed: int) -> Reader:
    tokenizer = Tokenizer.from_pretrained(locate(str(parts.tokenizer)))
    asked: dict[str, Any] = {"adapter": parts.adapter, "seed": seed, "dtype": torch.float32}
    for role in ("encoder", "decoder"):
        part = getattr(parts, role)
        if isinstance(part, str):
            asked[f"{role}_pretrained_model_name_or_path"] = locate(part)
        else:
            asked[f"{role}_config"] = part
    if not isinstance(parts.decoder, str):
        asked |= _ids_of(tokenizer)
    model = VisionEncoderDecoderModel.from_encoder_decoder_pretrained(**asked)
    for name, value in _ids_of(tokenizer).items():
        if getattr(model.config, name) is None:
            setattr(model.config, name, value)
    return Reader(model, Processor(_image_processor(parts.image_processor), tokenizer))


def _ids_of(tokenizer: Tokenizer) -> dict[str, TokenIds]:
    """The token ids of a model that is to write with ``tokenizer``, by their names in its config."""

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


def _image_processor(given: str | dict[str, Any]) -> ImageProcessor:
    if isinstance(given, str):
        return ImageProcessor.from_pretrained(locate(given))
    return ImageProcessor.from_dict(given, "model.image_processor")


@contextmanager
def _table(name: str) -> Iterator[None]:
    """A table of the recipe becomes an object: its name stands in front of what is wrong with it."""
    try:
        yield
    except (ConfigError, TypeError, OverflowError) as cause:  # a name that is no field; an int that is no float
        raise ConfigError(f"{name}: {cause}") from cause
