"""``inspect``: a report on what a checkpoint holds, as far as its files can be read."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import attrs
import torch

from vedcore.config import pair
from vedcore.diagnosis.checkpoint import ROLES, OpenedCheckpoint, ReadFailure, open_checkpoint
from vedcore.diagnosis.token_ids import IdEntry, id_entries
from vedcore.errors import VedcoreError
from vedcore.generation import GenerationConfig
from vedcore.model.token_ids import ID_NAMES
from vedcore.registry import registry
from vedcore.storage.report import LoadReport
from vedcore.storage.tensors import WEIGHT_FILES, StoredTensor

_NOT_SETTINGS = {*ID_NAMES, "transformers_version", "_from_model_config"}
"""Fields of generation_config.json that ``Inspection.generation`` leaves out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartReport:
    """A part of a checkpoint.

    name: "encoder", "decoder", or "joint" for the tensors that belong to neither.
    model_type: the architecture, as config.json names it.
    served_by: the class of the model; if no plugin serves the model type, the message that says so.
    parameters, nbytes, dtypes: of the tensors on disk. If they cannot be read, ``parameters`` is what config.json describes,
        ``nbytes`` is None and ``dtypes`` is empty.
    """

    name: str
    model_type: str | None
    served_by: str | None
    parameters: int | None
    nbytes: int | None
    dtypes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """A report on a checkpoint. What is unknown is None or empty.

    files: the size in bytes of each weight file.
    image_size: the encoder's (height, width).
    processor_size: the (height, width) of the image processor's output.
    vocabulary, positions: the decoder's number of tokens and of positions.
    ids: the token ids, an entry for each file that sets one.
    generation: the generation settings that are not None, without the token ids.
    layout: how images are read by default. cut: the rule for cutting long lines.
    untrained: our names of the parameters that still hold their initial values.
    missing, unexpected, misshaped, other: how the tensors differ from what config.json describes, by their names on disk.
    unread: the files that cannot be read.
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
    ids: tuple[IdEntry, ...]
    generation: Mapping[str, Any]
    adapter: str | None
    layout: str | None
    cut: Mapping[str, Any] | None
    untrained: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshaped: tuple[str, ...]
    other: tuple[str, ...]
    unread: tuple[ReadFailure, ...]


def inspect(name: str | os.PathLike[str], *, allow_pickle: bool = False) -> Inspection:
    """Report what a folder, a shipped checkpoint or a hub id holds, without loading its weights.

    The folder may hold a whole model, or only an encoder or a decoder.

    allow_pickle: read ``*.bin`` weights too.

    Raises CheckpointNotFound if there is no such folder.
    """
    checkpoint = open_checkpoint(name, allow_pickle=allow_pickle)
    decoder, tokenizer = checkpoint.part("decoder"), checkpoint.tokenizer
    image_size = getattr(checkpoint.part_config("encoder"), "image_size", None)
    files = {path for pattern in WEIGHT_FILES for path in checkpoint.folder.glob(pattern) if path.suffix != ".json"}
    has_adapter = checkpoint.is_whole and checkpoint.model is not None
    load_report = checkpoint.load_report or LoadReport()
    return Inspection(
        folder=str(checkpoint.folder),
        model_type=checkpoint.config_json.get("model_type"),
        parts=_part_reports(checkpoint),
        files={path.name: path.stat().st_size for path in sorted(files)},
        image_size=None if image_size is None else pair(image_size),
        processor_size=getattr(checkpoint.image_processor, "output_size", None),
        vocabulary=None if decoder is None else decoder.sizes.vocab_size,
        tokenizer_size=None if tokenizer is None else len(tokenizer),
        positions=None if decoder is None else decoder.sizes.max_positions,
        ids=tuple(entry for id_name in ID_NAMES for entry in id_entries(checkpoint, id_name)),
        generation=_settings(checkpoint.generation_config),
        adapter=checkpoint.model.config.adapter if has_adapter else None,
        layout=checkpoint.layout,
        cut=None if checkpoint.cut_rule is None else attrs.asdict(checkpoint.cut_rule),
        untrained=checkpoint.untrained(),
        missing=tuple(load_report.missing),
        unexpected=tuple(load_report.unexpected),
        misshaped=tuple(load_report.shapes),
        other=tuple(load_report.other),
        unread=checkpoint.failures,
    )


def _part_reports(checkpoint: OpenedCheckpoint) -> tuple[PartReport, ...]:
    tensors = checkpoint.tensors
    reports = []
    for role in checkpoint.roles:
        prefix = f"{role}." if checkpoint.is_whole else ""
        own = None if tensors is None else [tensor for tensor in tensors if tensor.name.startswith(prefix)]
        model_type = checkpoint.model_type(role)
        reports.append(_part_report(role, model_type, _served_by(model_type, role), own, checkpoint.part(role)))
    if checkpoint.is_whole and tensors is not None:
        prefixes = tuple(f"{role}." for role in ROLES)
        joint = [tensor for tensor in tensors if not tensor.name.startswith(prefixes)]
        reports += [_part_report("joint", None, None, joint, None)] if joint else []
    return tuple(reports)


def _part_report(
    name: str, model_type: str | None, served_by: str | None, tensors: Sequence[StoredTensor] | None, module: Any
) -> PartReport:
    described = None if module is None else sum(parameter.numel() for parameter in module.parameters())
    return PartReport(
        name=name,
        model_type=model_type,
        served_by=served_by,
        parameters=described if tensors is None else sum(math.prod(tensor.shape) for tensor in tensors),
        nbytes=None if tensors is None else sum(math.prod(t.shape) * _itemsize(t.dtype) for t in tensors),
        dtypes=() if tensors is None else tuple(sorted({tensor.dtype for tensor in tensors})),
    )


def _served_by(model_type: str | None, role: str) -> str | None:
    """The model class with its package, "vedcore_plugin_vit.ViTModel", or the reason why there is none."""
    if model_type is None:
        return None
    try:
        model = registry().backbone(model_type, role).model
    except VedcoreError as error:
        return str(error)
    return f"{model.__module__.partition('.')[0]}.{model.__name__}"


def _itemsize(dtype: str) -> int:
    found = getattr(torch, dtype, None)
    return found.itemsize if isinstance(found, torch.dtype) else 1  # types that torch does not name have at most 8 bits


def _settings(generation_config: GenerationConfig | None) -> dict[str, Any]:
    fields = {} if generation_config is None else generation_config.to_dict()
    return {name: value for name, value in fields.items() if value is not None and name not in _NOT_SETTINGS}
