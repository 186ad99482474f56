"""VisionEncoderDecoderConfig: the config.json of a whole model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import attrs

from vedcore.config import Config, TokenIds, field, settings, to_dict
from vedcore.errors import CheckpointNotFound, ConfigError
from vedcore.model.part_config import MODEL_TYPE, OWN_MODEL_TYPE, part_config
from vedcore.registry import registry
from vedcore.storage.files import read_json, staged, write_json
from vedcore.storage.hub import resolve


@settings
class VisionEncoderDecoderConfig(Config):
    """The configs of both parts, and the token ids, which are stored here alone.

    encoder, decoder: configs, or their dicts from config.json. adapter: the name of the plugin that joins the two.
    """

    model_type: ClassVar[str] = MODEL_TYPE

    encoder: Any = attrs.field(converter=lambda value: _part_config(value, "encoder"))
    decoder: Any = attrs.field(converter=lambda value: _part_config(value, "decoder"))
    adapter: str = field.text("linear")
    decoder_start_token_id: int | None = field.integer(None, at_least=0)
    bos_token_id: int | None = field.integer(None, at_least=0)
    eos_token_id: TokenIds = field.token_ids(None)
    pad_token_id: int | None = field.integer(None, at_least=0)

    @property
    def vocab_size(self) -> int:
        """V, the decoder's. Assigning another value raises ConfigError: ``resize_token_embeddings`` changes it."""
        return int(self.decoder.vocab_size)

    @vocab_size.setter
    def vocab_size(self, value: int) -> None:
        if value != self.vocab_size:
            raise ConfigError(
                f"vocab_size must be the decoder's, {self.vocab_size}, got {value!r}",
                field="vocab_size",
                expected=self.vocab_size,
                found=value,
            )

    @classmethod
    def from_encoder_decoder_configs(cls, encoder_config: Any, decoder_config: Any, **config_fields: Any) -> Self:
        """The config of these two parts; ``config_fields`` are fields of this class. The configs given stay as they are."""
        return cls(encoder=encoder_config, decoder=decoder_config, **config_fields)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "config") -> Self:
        """The config of both parts that ``data`` describes.

        Raises ConfigError for wrong fields, PluginNotFound for the model type of a part.
        """
        known = data.get("model_type") in (None, OWN_MODEL_TYPE)
        return super().from_dict({**data, "model_type": MODEL_TYPE} if known else data, where)

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str], *, revision: str | None = None) -> Self:
        """The config of a folder or a hub id."""
        path = resolve(name, revision=revision, weights=False) / "config.json"
        if not path.is_file():
            inside = sorted(found.parent.name for found in path.parent.glob("*/config.json"))
            near = f"; {', '.join(inside)} in it has one: name that folder" if inside else ""
            raise CheckpointNotFound(
                f"{path}: no such file{near}; a checkpoint is a folder with config.json, model.safetensors and, to read "
                "images, preprocessor_config.json and tokenizer.json",
                file=path,
            )
        return cls.from_dict(read_json(path), str(path))

    def to_dict(self) -> dict[str, Any]:
        """The content of config.json."""
        data = to_dict(self)
        if self.adapter == "linear":
            del data["adapter"]
        decoder = {"is_decoder": True, "add_cross_attention": True, **self.decoder.to_dict()}
        fixed = {"model_type": MODEL_TYPE, "is_encoder_decoder": True, "tie_word_embeddings": False}
        data = {**data, "encoder": self.encoder.to_dict(), "decoder": decoder, **fixed}
        pruned = any(part.pruned_heads or part.pruned_cross_heads for part in (self.encoder, self.decoder))
        return refused_by_transformers(data) if pruned or self.adapter != "linear" else data

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write config.json to ``folder``. Raises SaveError, with ``folder`` as it was."""
        with staged(folder) as stage:
            write_json(stage / "config.json", self.to_dict())


def refused_by_transformers(data: Mapping[str, Any]) -> dict[str, Any]:
    """The config.json with model types that are unknown to transformers, so that each of its classes refuses it."""
    decoder = data["decoder"]
    decoder = {**decoder, "model_type": f"{OWN_MODEL_TYPE}:{decoder['model_type'].removeprefix(f'{OWN_MODEL_TYPE}:')}"}
    return {**data, "model_type": OWN_MODEL_TYPE, "decoder": decoder}


def _part_config(value: Any, role: str) -> Any:
    return part_config(value, role, registry())
