"""What a record, a config and a module must satisfy before they run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vedcore.contract.hookspecs import PROTOCOL
from vedcore.contract.protocols import DecoderSizes
from vedcore.errors import VedcoreError
from vedcore.part import Part
from vedcore.storage.files import parse_json, write_json
from vedcore.testing.checks.base import check, must
from vedcore.testing.checks.reference import their_config
from vedcore.testing.subject import LawBroken, Subject

DECODER_ATTRIBUTES = ("sizes", "token_embedding", "embed", "blocks", "cross", "norm", "lm_head", "make_cross")


@check("the record matches its model and config", "a record with another protocol, name or kind of model")
def _record(subject: Subject) -> None:
    record = subject.record
    must(record.protocol == PROTOCOL, f"protocol is {record.protocol!r}, but this vedcore has protocol {PROTOCOL}")
    must(record.role in ("encoder", "decoder"), f"role is {record.role!r}, expected 'encoder' or 'decoder'")
    must(issubclass(record.model, Part), f"{record.model.__name__} is not a vedcore.Part")
    must(
        record.config.model_type == record.name,
        f"the record is named {record.name!r}, its config is for {record.config.model_type!r}",
    )


@check(
    "a config is equal after a round trip through a dict and through JSON",
    "a field that is not written, or that reading changes",
    after=("record",),
    examples=10,
)
def _config_round_trip(subject: Subject) -> None:
    config = subject.config
    must(config == type(config).from_dict(config.to_dict()), "from_dict(to_dict(config)) differs from the config")
    with tempfile.TemporaryDirectory() as folder:
        write_json(Path(folder) / "config.json", config.to_dict())
        again = type(config).from_dict(parse_json((Path(folder) / "config.json").read_bytes(), "config.json"))
    must(config == again, "the config read back from JSON differs from the config")
    lost = [name for name, value in subject.fields.items() if not _alike(config.to_dict().get(name), value)]
    must(not lost, f"{', '.join(lost)} differs from the value in the config.json")


@check(
    "a config field with a wrong type is refused, never coerced",
    "a converter on the field, or a field without a check",
    after=("config-round-trip",),
)
def _config_types(subject: Subject) -> None:
    for name, wrong in [(name, wrong) for name, value in subject.fields.items() for wrong in _wrong(value)]:
        readers: tuple[Callable[[], Any], ...] = (
            partial(type(subject.config).from_dict, {**subject.fields, name: wrong}),
            partial(subject.config.replace, **{name: wrong}),
        )
        for read in readers:
            try:
                found = getattr(read(), name)
            except VedcoreError:
                continue
            raise LawBroken(f"{name}={wrong!r} was accepted, and became {found!r}")


@check(
    "a config is equal after a round trip through transformers' class, and has the same defaults",
    "a field with a default or a name that differs from the published one",
    claim="reference",
    after=("config-round-trip",),
    examples=10,
)
def _config_reference(subject: Subject) -> None:
    config = subject.config
    theirs = their_config(subject).to_dict()
    again = type(config).from_dict({**theirs, "model_type": subject.record.name})
    first, published = type(config)(), type(config).from_dict(their_config(subject, given=False).to_dict())
    for name in config.to_dict():
        if name in config.extra or name in (*subject.spec.derived, "model_type", "is_decoder", "add_cross_attention"):
            continue
        ours, back = getattr(config, name), getattr(again, name)
        must(ours == back, f"{name} is {ours!r}, and {back!r} after the round trip through transformers' class")
        ours, back = getattr(first, name), getattr(published, name)
        must(ours == back, f"the default of {name} is {ours!r}, and {back!r} in transformers' class")


@check(
    "the model can be built, also on the meta device",
    "__init__ reads a tensor's value or names a device",
    after=("config-round-trip",),
)
def _build(subject: Subject) -> None:
    must(isinstance(subject.model, nn.Module), "the model is not an nn.Module")
    with torch.device("meta"):
        model = subject.record.model(subject.config)
    stored = [name for name, parameter in model.named_parameters() if not parameter.is_meta]
    must(not stored, f"{', '.join(stored[:4])} is not on the meta device")


@check(
    "the model has the attributes of its protocol",
    "an attribute that is missing or contradicts another",
    after=("build",),
)
def _attributes(subject: Subject) -> None:
    model = subject.model
    if not subject.is_decoder:
        must(isinstance(model.hidden_size, int), "hidden_size is not an int")
        return
    missing = [name for name in DECODER_ATTRIBUTES if not hasattr(model, name)]
    must(not missing, f"{', '.join(missing)} is missing")
    sizes = model.sizes
    must(isinstance(sizes, DecoderSizes), "sizes is not a DecoderSizes")
    layers = len(sizes.layers)
    must(len(model.cross) == layers, f"{len(model.cross)} cross-attention layers, but sizes has {layers} layers")
    must(sizes.max_positions is None or sizes.max_positions > 0, f"sizes.max_positions is {sizes.max_positions}")
    own = model.make_cross()
    made = layers if own is None else len(own)
    must(made == layers, f"make_cross() makes {made} layers, but sizes has {layers} layers")


@check(
    "each tensor has its own name on disk, which is read as the same tensor",
    "two tensors with one name on disk, or a rule that shadows another",
    after=("attributes",),
    examples=10,
)
def _names(subject: Subject) -> None:
    keymap = subject.model.keymap
    inserted = subject.is_decoder and not subject.has_own_cross_attention
    seen: dict[tuple[str, int], str] = {}
    first: dict[int, str] = {}
    for name, tensor in subject.model.state_dict(keep_vars=True).items():
        if inserted and name.startswith("cross."):
            continue  # an adapter made them, and it names them
        place = keymap.to_theirs(name)
        other = seen.setdefault((place.name, place.index), name)
        tied = first.setdefault(id(tensor), name)
        must(other == name or tied != name, f"{name} and {other} are both {place.name} on disk")
        canonical = keymap.canonical(place.name)
        must(canonical == place.name, f"{name} is written as {place.name}, which is read as {canonical}")


def _alike(written: Any, given: Any) -> bool:
    return written == given or (isinstance(given, tuple) and written == list(given))


def _wrong(value: Any) -> list[Any]:
    """Values of other types that a lenient reader would convert to ``value``."""
    if isinstance(value, bool | float | str | list | tuple):
        return [[value] if isinstance(value, str) else str(value)]
    return [str(value), value + 0.5] if isinstance(value, int) else []
