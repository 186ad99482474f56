"""What a checkpoint holds, told as far as it can be read, and without its weights in memory.

    from vedcore.inspection import inspect
    print(inspect("line-reader").image_size)

``open_checkpoint`` reads each file by itself and keeps the reason of each that cannot be read; ``inspect`` makes one report
of that. A folder may hold a whole model, or an encoder or a decoder alone.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import attrs
import torch

from vedcore.config import as_tuple, id_tuple, pair
from vedcore.errors import ConfigError, PluginNotFound, VedcoreError, foreign
from vedcore.generation import GenerationConfig
from vedcore.generation.config import FILE as GENERATION_FILE
from vedcore.model import VisionEncoderDecoderConfig, VisionEncoderDecoderModel
from vedcore.model.compose import MODEL_TYPE, OWN_MODEL_TYPE, build
from vedcore.model.token_ids import ID_NAMES
from vedcore.part import without_storage
from vedcore.reader import locate, read_cut_rule
from vedcore.registry import registry
from vedcore.storage.files import read_json
from vedcore.storage.own import OWN_FILE, is_unchanged, stored_checksums
from vedcore.storage.sections import Misfit, compare, read_parameters
from vedcore.storage.tensors import WEIGHT_FILES, StoredTensor, stored_tensors
from vedcore.text import Tokenizer
from vedcore.vision import CutRule, ImageProcessor

T = TypeVar("T")

ROLES = ("encoder", "decoder")
PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")
_TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "*.model")
_NO_SETTINGS = {*ID_NAMES, "transformers_version", "_from_model_config"}


@dataclass(frozen=True, slots=True)
class Unread:
    """What could not be read of a checkpoint, and the error that says why.

    what: "config", "weights", "generation", "image processor", "tokenizer" or "vedcore.json".
    """

    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class SaidId:
    """A token id as one place says it, and the text of its token where the tokenizer has it.

    place: "config.json", "config.json (decoder)", "generation_config.json" or "tokenizer".
    """

    name: str
    place: str
    value: Any
    token: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A checkpoint, each part None where it is not there or could not be read (then ``unread`` says why).

    data: config.json. roles: what the folder holds, "encoder", "decoder" or both; none where no plugin serves its model type.
    module: the model without storage. stored: the tensors on disk; their values are no longer at hand. misfit: how they
    differ from what ``module`` asks for. untrained: the checksums in vedcore.json.
    """

    folder: Path
    allow_pickle: bool
    data: Mapping[str, Any]
    roles: tuple[str, ...]
    module: Any
    stored: tuple[StoredTensor, ...] | None
    misfit: Misfit | None
    generation: GenerationConfig | None
    image_processor: ImageProcessor | None
    tokenizer: Tokenizer | None
    cut_rule: CutRule | None
    untrained: Mapping[str, dict[str, int]]
    unread: tuple[Unread, ...]

    @property
    def is_whole(self) -> bool:
        """Whether the folder holds an encoder and a decoder, and not one of them alone."""
        return len(self.roles) == len(ROLES)

    def part(self, role: str) -> Any:
        """The module of the encoder or of the decoder, None where there is none."""
        if role not in self.roles or self.module is None:
            return None
        return getattr(self.module, role) if self.is_whole else self.module

    def part_data(self, role: str) -> Mapping[str, Any]:
        """What config.json says on a part."""
        found = self.data.get(role) if self.is_whole else self.data if role in self.roles else None
        return found if isinstance(found, Mapping) else {}

    def model_type(self, role: str) -> str | None:
        """The architecture of a part, as config.json names it."""
        found = self.part_data(role).get("model_type")
        return found.removeprefix(f"{OWN_MODEL_TYPE}:") if isinstance(found, str) else None

    def said_ids(self, name: str) -> list[SaidId]:
        """What each place says on a token id."""
        in_decoder = self.part_data("decoder").get(name) if self.is_whole else None
        has_file = (self.folder / GENERATION_FILE).is_file()
        said = {
            "config.json": self.data.get(name),
            "config.json (decoder)": in_decoder,
            GENERATION_FILE: getattr(self.generation, name, None) if has_file else None,
            "tokenizer": getattr(self.tokenizer, name, None),
        }
        ids = {place: as_tuple(value) for place, value in said.items() if value is not None}
        return [SaidId(name, place, value, self.token(value)) for place, value in ids.items()]

    def token(self, value: Any) -> str | None:
        """The tokens of an id or of several, None where the tokenizer has none."""
        if self.tokenizer is None:
            return None
        try:
            tokens = self.tokenizer.convert_ids_to_tokens(list(id_tuple(value)))
        except VedcoreError:
            return None
        return None if None in tokens else " ".join(tokens)


@dataclass(slots=True)
class _Attempts:
    """Calls what may fail, and keeps each reason once: one broken file is met by all who read it."""

    unread: list[Unread] = field(default_factory=list)

    def __call__(self, what: str, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except VedcoreError as error:
            if all(str(error) != other.reason for other in self.unread):
                self.unread.append(Unread(what, str(error)))
            return None


def open_checkpoint(name: str | os.PathLike[str], *, allow_pickle: bool = False) -> Opened:
    """Read what a folder, a shipped checkpoint or a hub id holds, each file by itself; nothing in it is an error.

    Raises CheckpointNotFound where there is no such folder at all.
    """
    folder = locate(name, allow_pickle=allow_pickle)
    attempt = _Attempts()
    found = attempt("config", lambda: read_json(folder / "config.json"))
    data = found or {}
    roles = ROLES if found is None else attempt("config", lambda: _roles(data)) or ()
    module = attempt("config", lambda: _skeleton(folder, data, roles)) if data and roles else None
    stored, misfit = attempt("weights", lambda: _stored(folder, module, allow_pickle)) or (None, None)
    generation = image_processor = tokenizer = None
    if found is not None or (folder / GENERATION_FILE).is_file():
        generation = attempt("generation", lambda: GenerationConfig.from_pretrained(folder))
    if roles == ROLES or any((folder / file).is_file() for file in PROCESSOR_FILES):
        image_processor = attempt("image processor", lambda: ImageProcessor.from_pretrained(folder))
    if roles == ROLES or any(path.is_file() for pattern in _TOKENIZER_FILES for path in folder.glob(pattern)):
        tokenizer = attempt("tokenizer", lambda: Tokenizer.from_pretrained(folder))
    return Opened(
        folder=folder,
        allow_pickle=allow_pickle,
        data=data,
        roles=roles,
        module=module,
        stored=stored,
        misfit=misfit,
        generation=generation,
        image_processor=image_processor,
        tokenizer=tokenizer,
        cut_rule=attempt(OWN_FILE, lambda: read_cut_rule(folder)),
        untrained=attempt(OWN_FILE, lambda: stored_checksums(folder)) or {},
        unread=tuple(attempt.unread),
    )


def _roles(data: Mapping[str, Any]) -> tuple[str, ...]:
    """What a config.json is of. PluginNotFound for a part alone that no plugin serves."""
    model_type = data.get("model_type")
    if model_type in (MODEL_TYPE, OWN_MODEL_TYPE) or set(ROLES) <= data.keys():
        return ROLES
    if not isinstance(model_type, str):
        raise ConfigError(
            "config.json has no model_type; it names the architecture, for instance 'vision-encoder-decoder'"
        )
    try:
        return (registry().backbone(model_type, "encoder").role,)
    except PluginNotFound:
        return (registry().backbone(model_type, "decoder").role,)


def _skeleton(folder: Path, data: Mapping[str, Any], roles: tuple[str, ...]) -> Any:
    """The model of a config.json, without storage."""
    where = str(folder / "config.json")
    with foreign(ConfigError, f"{where}: no model can be built from it"), without_storage():
        if roles == ROLES:
            return VisionEncoderDecoderModel(VisionEncoderDecoderConfig.from_dict(data, where))
        config = registry().backbone(data["model_type"], roles[0]).config.from_dict(data, where)
        return build(config, roles[0])


def _stored(folder: Path, module: Any, allow_pickle: bool) -> tuple[tuple[StoredTensor, ...] | None, Misfit | None]:
    with stored_tensors(folder, allow_pickle=allow_pickle) as stored:
        return tuple(stored.values()), None if module is None else compare(module.sections(), stored)


# The report.


@dataclass(frozen=True, slots=True, kw_only=True)
class PartReport:
    """A part of a checkpoint.

    name: "encoder", "decoder", or "joint" for what lies between them. served_by: the class that is built for it, or why
    none is. parameters, nbytes, dtypes: of its tensors on disk; where they cannot be read, what config.json asks for.
    """

    name: str
    model_type: str | None
    served_by: str | None
    parameters: int | None
    nbytes: int | None
    dtypes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """A checkpoint in one report; None and empty where nothing is known.

    files: bytes of each weight file. image_size: (height, width) that the encoder is made for; processor_size: what the image
    processor makes. vocabulary, positions: of the decoder. generation: the settings that are set, ids apart.
    untrained: our names of the parameters that still hold their first values. missing, unexpected, misshaped, other: how the
    tensors differ from what config.json asks for, by their names on disk. unread: what could not be read.
    """

    folder: str
    model_type: str | None
    parts: tuple[PartReport, ...]
    files: Mapping[str, int]
    image_size: tuple[int, int] | None
    processor_size: tuple[int, int] | None
    vocabulary: int | None
    tokenizer_size: int | None
    positions: int | None
    ids: tuple[SaidId, ...]
    generation: Mapping[str, Any]
    adapter: str | None
    cut: Mapping[str, Any] | None
    untrained: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshaped: tuple[str, ...]
    other: tuple[str, ...]
    unread: tuple[Unread, ...]


def inspect(name: str | os.PathLike[str], *, allow_pickle: bool = False) -> Inspection:
    """The report on a folder, a shipped checkpoint or a hub id. Raises CheckpointNotFound where there is no such folder."""
    opened = open_checkpoint(name, allow_pickle=allow_pickle)
    encoder, decoder = (opened.part(role) for role in ROLES)
    size = getattr(getattr(encoder, "config", None), "image_size", None)
    files = {path for pattern in WEIGHT_FILES for path in opened.folder.glob(pattern) if path.suffix != ".json"}
    said = tuple(said for id_name in ID_NAMES for said in opened.said_ids(id_name))
    misfit = opened.misfit or Misfit()
    return Inspection(
        folder=str(opened.folder),
        model_type=opened.data.get("model_type"),
        parts=_parts(opened),
        files={path.name: path.stat().st_size for path in sorted(files)},
        image_size=None if size is None else pair(size),
        processor_size=getattr(opened.image_processor, "output_size", None),
        vocabulary=getattr(decoder, "vocab_size", None),
        tokenizer_size=None if opened.tokenizer is None else len(opened.tokenizer),
        positions=getattr(decoder, "max_positions", None),
        ids=said,
        generation=_settings(opened.generation),
        adapter=opened.module.config.adapter if opened.is_whole and opened.module is not None else None,
        cut=None if opened.cut_rule is None else attrs.asdict(opened.cut_rule),
        untrained=untrained(opened),
        missing=tuple(misfit.missing),
        unexpected=tuple(misfit.unexpected),
        misshaped=tuple(misfit.shapes),
        other=tuple(misfit.other),
        unread=opened.unread,
    )


def untrained(opened: Opened) -> tuple[str, ...]:
    """Our names of the parameters that still hold the values that they started from.

    Those that vedcore.json lists and whose values are the same today, or all of them where the weights cannot be read.
    """
    if not opened.untrained or opened.module is None or opened.stored is None:
        return tuple(sorted(opened.untrained))
    listed = {id(p): name for name, p in opened.module.named_parameters() if name in opened.untrained}
    with stored_tensors(opened.folder, allow_pickle=opened.allow_pickle) as stored:
        values = read_parameters(opened.module.sections(), stored, listed)
    names = [(listed[id(parameter)], value) for parameter, value in values]
    return tuple(sorted(name for name, value in names if is_unchanged(value, opened.untrained[name])))


def _parts(opened: Opened) -> tuple[PartReport, ...]:
    stored = opened.stored
    reports = []
    for role in opened.roles:
        own = None if stored is None else [t for t in stored if not opened.is_whole or t.name.startswith(f"{role}.")]
        model_type = opened.model_type(role)
        reports.append(_report(role, model_type, _served_by(model_type, role), own, opened.part(role)))
    if opened.is_whole and stored is not None:
        between = [t for t in stored if not t.name.startswith(tuple(f"{role}." for role in ROLES))]
        reports += [_report("joint", None, None, between, None)] if between else []
    return tuple(reports)


def _served_by(model_type: str | None, role: str) -> str | None:
    if model_type is None:
        return None
    try:
        model = registry().backbone(model_type, role).model
    except VedcoreError as error:
        return str(error)
    return f"{model.__module__.partition('.')[0]}.{model.__name__}"


def _report(
    name: str, model_type: str | None, served_by: str | None, stored: Sequence[StoredTensor] | None, module: Any
) -> PartReport:
    asked = None if module is None else sum(parameter.numel() for parameter in module.parameters())
    return PartReport(
        name=name,
        model_type=model_type,
        served_by=served_by,
        parameters=asked if stored is None else sum(math.prod(tensor.shape) for tensor in stored),
        nbytes=None if stored is None else sum(math.prod(t.shape) * _itemsize(t.dtype) for t in stored),
        dtypes=() if stored is None else tuple(sorted({tensor.dtype for tensor in stored})),
    )


def _itemsize(dtype: str) -> int:
    found = getattr(torch, dtype, None)
    return found.itemsize if isinstance(found, torch.dtype) else 1  # what torch has no name for is of 8 bits or fewer


def _settings(generation: GenerationConfig | None) -> dict[str, Any]:
    fields = {} if generation is None else generation.to_dict()
    return {name: value for name, value in fields.items() if value is not None and name not in _NO_SETTINGS}
