"""Open a checkpoint file by file, without its weights in memory.

A file that cannot be read becomes a ``ReadFailure``; the other files are still read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from vedcore.errors import ConfigError, PluginNotFound, VedcoreError, foreign
from vedcore.generation import GenerationConfig
from vedcore.generation.config import FILE as GENERATION_FILE
from vedcore.model import VisionEncoderDecoderConfig, VisionEncoderDecoderModel
from vedcore.model.part_config import MODEL_TYPE, OWN_MODEL_TYPE, build
from vedcore.part import without_storage
from vedcore.reader import Calibration, LayoutName, locate, read_calibration, read_cut_rule, read_layout
from vedcore.registry import registry
from vedcore.storage.files import read_json
from vedcore.storage.loading import read_parameters
from vedcore.storage.matching import compare
from vedcore.storage.own import OWN_FILE, is_unchanged, stored_checksums
from vedcore.storage.report import LoadReport
from vedcore.storage.tensors import StoredTensor, stored_tensors
from vedcore.text import Tokenizer
from vedcore.vision import CutRule, ImageProcessor

T = TypeVar("T")

ROLES = ("encoder", "decoder")
PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")
TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "*.model")


@dataclass(frozen=True, slots=True)
class ReadFailure:
    """A part of a checkpoint that cannot be read, and the message of the error.

    what: "config", "weights", "generation", "image processor", "tokenizer" or "vedcore.json".
    """

    what: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedCheckpoint:
    """The contents of a checkpoint. A field is None if its file does not exist or cannot be read (see ``failures``).

    folder: where the files are.
    allow_pickle: whether ``*.bin`` weights may be read.
    config_json: the content of config.json, empty if it cannot be read.
    roles: the parts in the folder, "encoder", "decoder" or both; empty if no plugin serves the model type.
    model: the whole model, or the one part in the folder, on the meta device.
    tensors: names, shapes and types of the tensors on disk. Their files are closed, so they cannot be read any more.
    load_report: how ``tensors`` differ from the tensors of ``model``.
    checksums: our names of the parameters that were saved untrained, with the checksums of their initial values.
    failures: the files that cannot be read.
    """

    folder: Path
    allow_pickle: bool
    config_json: Mapping[str, Any]
    roles: tuple[str, ...]
    model: Any
    tensors: tuple[StoredTensor, ...] | None
    load_report: LoadReport | None
    generation_config: GenerationConfig | None
    image_processor: ImageProcessor | None
    tokenizer: Tokenizer | None
    cut_rule: CutRule | None
    layout: LayoutName | None
    calibration: Calibration | None
    checksums: Mapping[str, dict[str, int]]
    failures: tuple[ReadFailure, ...]

    @property
    def is_whole(self) -> bool:
        """Whether the folder holds both an encoder and a decoder."""
        return len(self.roles) == len(ROLES)

    def part(self, role: str) -> Any:
        """The encoder or the decoder on the meta device, or None."""
        if role not in self.roles or self.model is None:
            return None
        return getattr(self.model, role) if self.is_whole else self.model

    def part_config(self, role: str) -> Any:
        """The config of the encoder or of the decoder, or None."""
        return getattr(self.part(role), "config", None)

    def part_json(self, role: str) -> Mapping[str, Any]:
        """The section of config.json that describes the encoder or the decoder; empty if there is none."""
        found = self.config_json.get(role) if self.is_whole else self.config_json if role in self.roles else None
        return found if isinstance(found, Mapping) else {}

    def model_type(self, role: str) -> str | None:
        """The architecture of the encoder or of the decoder, as config.json names it."""
        found = self.part_json(role).get("model_type")
        return found.removeprefix(f"{OWN_MODEL_TYPE}:") if isinstance(found, str) else None

    def has_file(self, name: str) -> bool:
        """Whether the folder has a file of that name."""
        return (self.folder / name).is_file()

    def untrained(self) -> tuple[str, ...]:
        """Our names of the parameters that still hold their initial values, sorted.

        vedcore.json lists the candidates, and the values on disk decide. If the weights cannot be read, all candidates are
        returned.
        """
        if not self.checksums or self.model is None or self.tensors is None:
            return tuple(sorted(self.checksums))
        candidates = {id(p): name for name, p in self.model.named_parameters() if name in self.checksums}
        with stored_tensors(self.folder, allow_pickle=self.allow_pickle) as stored:
            values = read_parameters(self.model.sections(), stored, candidates)
        named_values = [(candidates[id(parameter)], value) for parameter, value in values]
        return tuple(sorted(name for name, value in named_values if is_unchanged(value, self.checksums[name])))


def open_checkpoint(name: str | os.PathLike[str], *, allow_pickle: bool = False) -> OpenedCheckpoint:
    """Read a folder, a shipped checkpoint or a hub id, each file independently.

    Raises CheckpointNotFound if there is no such folder. Whatever is wrong inside the folder is recorded, not raised.
    """
    folder = locate(name, allow_pickle=allow_pickle)
    attempt = _FailureRecorder()
    config_json = attempt("config", lambda: read_json(folder / "config.json"))
    data = config_json or {}
    roles = ROLES if config_json is None else attempt("config", lambda: _roles(folder / "config.json", data)) or ()
    model = attempt("config", lambda: _meta_model(folder, data, roles)) if data and roles else None
    tensors, load_report = attempt("weights", lambda: _tensors(folder, model, allow_pickle)) or (None, None)
    generation_config = image_processor = tokenizer = None
    # A folder with only an encoder or a decoder needs no image processor and no tokenizer.
    if config_json is not None or (folder / GENERATION_FILE).is_file():
        generation_config = attempt("generation", lambda: GenerationConfig.from_pretrained(folder))
    if roles == ROLES or _has_any(folder, PROCESSOR_FILES):
        image_processor = attempt("image processor", lambda: ImageProcessor.from_pretrained(folder))
    if roles == ROLES or _has_any(folder, TOKENIZER_FILES):
        tokenizer = attempt("tokenizer", lambda: Tokenizer.from_pretrained(folder))
    return OpenedCheckpoint(
        folder=folder,
        allow_pickle=allow_pickle,
        config_json=data,
        roles=roles,
        model=model,
        tensors=tensors,
        load_report=load_report,
        generation_config=generation_config,
        image_processor=image_processor,
        tokenizer=tokenizer,
        cut_rule=attempt(OWN_FILE, lambda: read_cut_rule(folder)),
        layout=attempt(OWN_FILE, lambda: read_layout(folder)),
        calibration=attempt(OWN_FILE, lambda: read_calibration(folder)),
        checksums=attempt(OWN_FILE, lambda: stored_checksums(folder)) or {},
        failures=tuple(attempt.failures),
    )


@dataclass(slots=True)
class _FailureRecorder:
    """Calls a function that may fail, and records each message once: several readers report the same broken file."""

    failures: list[ReadFailure] = field(default_factory=list)

    def __call__(self, what: str, read: Callable[[], T | None]) -> T | None:
        """The result of ``read``, or None if it raised a VedcoreError."""
        try:
            return read()
        except VedcoreError as error:
            if all(str(error) != other.reason for other in self.failures):
                self.failures.append(ReadFailure(what, str(error)))
            return None


def _has_any(folder: Path, patterns: tuple[str, ...]) -> bool:
    return any(path.is_file() for pattern in patterns for path in folder.glob(pattern))


def _roles(path: Path, config_json: Mapping[str, Any]) -> tuple[str, ...]:
    """The parts that a config.json describes. Raises PluginNotFound for a single part that no plugin serves."""
    model_type = config_json.get("model_type")
    if model_type in (MODEL_TYPE, OWN_MODEL_TYPE) or set(ROLES) <= config_json.keys():
        return ROLES
    if not isinstance(model_type, str):
        raise ConfigError(
            f"{path} has no model_type; it names the architecture, for instance 'vision-encoder-decoder'",
            file=path,
            field="model_type",
            expected="a string",
            found=model_type,
        )
    try:
        return (registry().backbone(model_type, "encoder").role,)
    except PluginNotFound:
        return (registry().backbone(model_type, "decoder").role,)


def _meta_model(folder: Path, config_json: Mapping[str, Any], roles: tuple[str, ...]) -> Any:
    """The model that config.json describes, on the meta device: its size does not matter."""
    path = folder / "config.json"
    with foreign(ConfigError, f"{path}: no model can be built from it", file=path), without_storage():
        if roles == ROLES:
            return VisionEncoderDecoderModel(VisionEncoderDecoderConfig.from_dict(config_json, str(path)))
        config = registry().backbone(config_json["model_type"], roles[0]).config.from_dict(config_json, str(path))
        return build(config, roles[0])


def _tensors(folder: Path, model: Any, allow_pickle: bool) -> tuple[tuple[StoredTensor, ...] | None, LoadReport | None]:
    with stored_tensors(folder, allow_pickle=allow_pickle) as stored:
        return tuple(stored.values()), None if model is None else compare(model.sections(), stored)
