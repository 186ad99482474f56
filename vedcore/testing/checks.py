"""The laws, one function each, in levels: a backbone that breaks one level is not asked about the next.

Inside a level a law on which another one rests comes first and is named in its ``after``: one fault gives one failure.
A check gets a Subject and raises LawBroken (or anything else) where its law does not hold.
"""

from __future__ import annotations

import copy
import pickle
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import hypothesis
import torch
from torch import Tensor, nn

from vedcore.checkpoint import save_sections
from vedcore.checkpoint.store import write_tensors
from vedcore.errors import CheckpointError, VedcoreError
from vedcore.files import parse_json, write_json
from vedcore.hookspecs import PROTOCOL
from vedcore.nn import Linear, Part
from vedcore.protocols import Seam
from vedcore.testing.subject import LawBroken, Subject, Wrapped, prepare, remember, require_close
from vedcore.types import EncoderOutput, Recorder, Step, causal_mask

LEVELS = ("contract", "shapes", "parity", "cache", "files")
"""In order; a check that fails blocks the checks of later levels, and of its own level those that come after it."""

Role = Literal["encoder", "decoder", "both"]


@dataclass(frozen=True, slots=True)
class Check:
    """One law. id: stable. claim: what the record must promise for the law to apply, if anything.

    after: checks before it in its level without which it says nothing; where one fails, this one is blocked.
    examples: how many small configs it is tried on, before the profile of hypothesis is asked.
    """

    id: str
    level: str
    role: Role
    law: str
    cause: str
    run: Callable[[Subject], None]
    claim: str | None = None
    after: tuple[str, ...] = ()
    examples: int = 3


CHECKS: dict[str, Check] = {}


def _check(
    level: str,
    law: str,
    cause: str,
    *,
    role: Role = "both",
    claim: str | None = None,
    after: tuple[str, ...] = (),
    examples: int = 3,
) -> Callable[[Callable[[Subject], None]], Callable[[Subject], None]]:
    def register(run: Callable[[Subject], None]) -> Callable[[Subject], None]:
        name = run.__name__.strip("_").replace("_", "-")
        CHECKS[name] = Check(name, level, role, law, cause, run, claim, after, examples)
        return run

    return register


def _must(holds: bool, problem: str) -> None:
    if not holds:
        raise LawBroken(problem)


# contract


@_check("contract", "the record says what it is", "a record with another protocol, name or kind of model")
def _record(subject: Subject) -> None:
    record = subject.record
    _must(record.protocol == PROTOCOL, f"protocol is {record.protocol!r}, this vedcore speaks {PROTOCOL}")
    _must(record.role in ("encoder", "decoder"), f"role is {record.role!r}, want 'encoder' or 'decoder'")
    _must(issubclass(record.model, Part), f"{record.model.__name__} is not a vedcore.nn.Part")
    _must(
        record.config.model_type == record.name,
        f"the record is named {record.name!r}, its config is for {record.config.model_type!r}",
    )


@_check(
    "contract",
    "a config survives a dict and JSON",
    "a field that is not written, or is changed on reading",
    after=("record",),
    examples=10,
)
def _config_round_trip(subject: Subject) -> None:
    config = subject.config
    _must(config == type(config).from_dict(config.to_dict()), "from_dict(to_dict(config)) is another config")
    with tempfile.TemporaryDirectory() as folder:
        write_json(Path(folder) / "config.json", config.to_dict())
        again = type(config).from_dict(parse_json((Path(folder) / "config.json").read_bytes(), "config.json"))
    _must(config == again, "the config read back from JSON is another config")
    lost = [name for name, value in subject.fields.items() if not _alike(config.to_dict().get(name), value)]
    _must(not lost, f"{', '.join(lost)} is not what was given")


@_check(
    "contract",
    "a config field of a wrong type is refused, never coerced",
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
            raise LawBroken(f"{name} was given {wrong!r}, which is taken as {found!r}")


@_check(
    "contract",
    "a config survives transformers' own class",
    "a field with another default or another name than the published one",
    claim="reference",
    after=("config-round-trip",),
    examples=10,
)
def _config_reference(subject: Subject) -> None:
    config = subject.config
    theirs = _their_config(subject).to_dict()
    again = type(config).from_dict({**theirs, "model_type": subject.record.name})
    first, published = type(config)(), type(config).from_dict(_their_config(subject, given=False).to_dict())
    for name in config.to_dict():
        if name in config.extra or name in (*subject.record.derived, "model_type", "is_decoder", "add_cross_attention"):
            continue
        ours, back = getattr(config, name), getattr(again, name)
        _must(ours == back, f"{name} is {ours!r}, and {back!r} after transformers' class")
        ours, back = getattr(first, name), getattr(published, name)
        _must(ours == back, f"{name} is {ours!r} where nothing is said, and {back!r} in transformers' class")


@_check(
    "contract",
    "it is built, and built without storage",
    "a value read, or a device named, in __init__",
    after=("config-round-trip",),
)
def _build(subject: Subject) -> None:
    _must(isinstance(subject.model, nn.Module), "the model is not an nn.Module")
    with torch.device("meta"):
        model = subject.record.model(subject.config)
    stored = [name for name, parameter in model.named_parameters() if not parameter.is_meta]
    _must(not stored, f"{', '.join(stored[:4])} is on a device of its own")


@_check(
    "contract",
    "the model has the attributes of its protocol",
    "an attribute is missing or does not fit another",
    after=("build",),
)
def _attributes(subject: Subject) -> None:
    model = subject.model
    _must(isinstance(model.hidden_size, int), "hidden_size is not an int")
    if not subject.is_decoder:
        return
    _must(isinstance(model.seam, Seam), "seam is not a Seam")
    layers = model.seam.num_layers
    _must(len(model.cache_shapes) == layers, f"{len(model.cache_shapes)} cache shapes for {layers} layers")
    _must(len(model.cross) == layers, f"{len(model.cross)} cross-attention layers for {layers} layers")
    for name in ("hidden_size", "memory_size"):
        ours, seams = getattr(model, name), getattr(model.seam, name)
        _must(ours == seams, f"{name} is {ours}, its seam says {seams}")
    _must(model.max_positions is None or model.max_positions > 0, f"max_positions is {model.max_positions}")


@_check(
    "contract",
    "names are reversible",
    "two tensors with one name on disk, or a rule that hides another",
    after=("attributes",),
    examples=10,
)
def _names(subject: Subject) -> None:
    keymap = subject.model.keymap
    inserted = subject.is_decoder and not subject.born_looking
    seen: dict[tuple[str, int], str] = {}
    first: dict[int, str] = {}
    for name, tensor in subject.model.state_dict(keep_vars=True).items():
        if inserted and name.startswith("cross."):
            continue  # made by an adapter, which names them
        place = keymap.to_theirs(name)
        twin = seen.setdefault((place.name, place.index), name)
        tied = first.setdefault(id(tensor), name)
        _must(twin == name or tied != name, f"{name} and {twin} are both {place.name} on disk")
        _must(keymap.canonical(place.name) == place.name, f"{name} is written as {place.name}, which is read as other")


# shapes


@_check("shapes", "outputs have the shapes of the protocol and are finite", "a transposed axis, or a token too many")
def _shapes(subject: Subject) -> None:
    model = subject.model
    with torch.no_grad():
        if subject.is_decoder:
            for ids in (subject.ids(), subject.ids()[:1, :1]):
                logits = subject.decode(ids, subject.memory(len(ids)))
                _must(tuple(logits.shape) == (*ids.shape, model.vocab_size), f"logits have shape {tuple(logits.shape)}")
                _must(bool(logits.isfinite().all()), "logits are not finite")
            return
        output, blank = subject.encode(subject.pixels()), subject.encode(torch.zeros_like(subject.pixels()))
    shape = tuple(output.states.shape)
    _must(len(shape) == 3 and shape[0] == 2 and shape[2] == model.hidden_size, f"states have shape {shape}")
    _must(bool(output.states.isfinite().all()), "states are not finite")
    _must(bool(blank.states.isfinite().all()), "states of a blank image are not finite")
    if output.grid is not None:
        expected = output.extra + output.grid[0] * output.grid[1]
        _must(
            expected == shape[1], f"extra {output.extra} and grid {output.grid} make {expected} states, not {shape[1]}"
        )


@_check(
    "shapes",
    "the last of max_positions tokens has a position",
    "max_positions is more than the table of positions has rows for tokens",
    role="decoder",
    after=("shapes",),
)
def _last_position(subject: Subject) -> None:
    if subject.model.max_positions is None:
        return
    with torch.no_grad():
        subject.decode(subject.ids()[:, :1], subject.memory(), start=subject.model.max_positions - 1)


@_check(
    "shapes",
    "a forward pass leaves the module as it was",
    "a cache, a mask or a counter kept on the module",
    after=("shapes",),
)
def _stateless(subject: Subject) -> None:
    before = _state(subject.model)
    subject.output()
    after = _state(subject.model)
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    _must(not changed, f"{', '.join(changed[:4])} changed")


@_check(
    "shapes",
    "in eval mode the same input gives the same output",
    "dropout that ignores eval mode",
    after=("stateless",),
)
def _deterministic(subject: Subject) -> None:
    _must(torch.equal(subject.output(), subject.output()), "two calls differ")


@_check(
    "shapes",
    "a trace sees the hidden states, and changes nothing",
    "a trace that is never called, or a step that is handed on without its trace",
    after=("deterministic",),
)
def _trace(subject: Subject) -> None:
    recorder = Recorder("hidden")
    with torch.no_grad():
        if subject.is_decoder:
            found = subject.decode(subject.ids(), subject.memory(), trace=recorder)
        else:
            found = subject.encode(subject.pixels(), trace=recorder).states
    seen = recorder.all("hidden") or ()
    least = subject.model.seam.num_layers + 1 if subject.is_decoder else 2  # what enters the first, what leaves each
    _must(len(seen) >= least, f"the trace saw {len(seen)} hidden states, want {least} at least")
    shapes = [tuple(states.shape) for states in seen]
    _must(all(len(shape) == 3 and shape[0] == 2 for shape in shapes), f"the trace saw hidden states of shapes {shapes}")
    require_close(found, subject.output(), "the output with a trace")


@_check(
    "shapes",
    "a row does not depend on its neighbours",
    "a mean or a norm over the batch, or state shared by rows",
    after=("deterministic",),
)
def _batch_independence(subject: Subject) -> None:
    with torch.no_grad():
        if subject.is_decoder:
            ids, states = subject.ids(3), torch.randn(3, 4, subject.model.memory_size)
            whole = subject.decode(ids, remember(subject.model, EncoderOutput(states)))
            for row in range(3):
                alone = remember(subject.model, EncoderOutput(states[row : row + 1]))
                require_close(whole[row : row + 1], subject.decode(ids[row : row + 1], alone), f"row {row} alone")
            return
        pixels = subject.pixels(3)
        whole = subject.encode(pixels).states
        for row in range(3):
            require_close(whole[row : row + 1], subject.encode(pixels[row : row + 1]).states, f"row {row} alone")


@_check(
    "shapes",
    "a later token never changes an earlier logit",
    "a mask that is not causal",
    role="decoder",
    after=("batch-independence",),
)
def _causality(subject: Subject) -> None:
    ids = subject.ids()
    changed = ids.clone()
    changed[:, -1] = subject.ids(seed=2)[:, -1].where(
        subject.ids(seed=2)[:, -1] != ids[:, -1], subject.ids(seed=3)[:, 0]
    )
    with torch.no_grad():
        before, after = (subject.decode(x, subject.memory()) for x in (ids, changed))
    require_close(after[:, :-1], before[:, :-1], "logits before the token that was changed", 1e-6)


@_check(
    "shapes",
    "the image reaches the logits",
    "cross-attention that is skipped, or a memory that is not read",
    role="decoder",
    after=("deterministic",),
)
def _looks_at_the_image(subject: Subject) -> None:
    with torch.no_grad():
        one, other = (subject.decode(subject.ids(), subject.memory(seed=seed)) for seed in (1, 2))
    _must(not torch.equal(one, other), "logits are the same for two images")


@_check(
    "shapes",
    "a masked state of the image changes nothing",
    "cross-attention that does not read memory.mask",
    role="decoder",
    after=(
        "batch-independence",
        "looks-at-the-image",
    ),
)
def _memory_mask(subject: Subject) -> None:
    states = torch.randn(2, 5, subject.model.memory_size)
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]).bool()
    other = states.masked_scatter(~mask[..., None], torch.randn_like(states))
    with torch.no_grad():
        one, two = (
            subject.decode(subject.ids(), remember(subject.model, EncoderOutput(s, mask))) for s in (states, other)
        )
        whole = subject.decode(subject.ids(), remember(subject.model, EncoderOutput(states)))
    require_close(two, one, "logits with other masked states", 1e-6)
    _must(not torch.equal(whole[0], one[0]), "the mask makes no difference")


@_check(
    "shapes",
    "a padded token changes nothing for the tokens behind it",
    "self-attention that does not read step.mask, or positions that are not step.positions where a step has them",
    role="decoder",
    after=("causality", "last-position"),
)
def _token_mask(subject: Subject) -> None:
    ids = subject.ids()
    if ids.shape[1] < 2:
        return

    def logits(tokens: Tensor, padded: int) -> Tensor:
        slots = torch.arange(tokens.shape[1])[None]
        keys = (slots >= padded).expand(tokens.shape)
        step = Step(
            slots=slots,
            positions=(slots - padded).clamp(min=0),  # a token stands where it would without the padding
            mask=causal_mask(slots, tokens.shape[1], keys),
            extent=tokens.shape[1],
            memory=subject.memory(),
        )
        return subject.model.lm_head(subject.model(tokens, step))[:, padded:]  # type: ignore[no-any-return]

    with torch.no_grad():
        require_close(logits(ids, 1), logits(ids[:, 1:], 0), "logits behind a padded token")


@_check(
    "shapes",
    "a mask of the pixels becomes a mask of the states",
    "a pixel_mask that is not read, or a mask that is not returned",
    role="encoder",
    after=("batch-independence",),
)
def _state_mask(subject: Subject) -> None:
    masks, _, places = _mostly_masked(subject)
    with torch.no_grad():
        output = subject.encode(subject.pixels(), pixel_mask=masks)
    if output.mask is None:
        raise LawBroken("the encoder was given a pixel_mask and returned no mask")
    shape, wanted = tuple(output.mask.shape), tuple(output.states.shape[:2])
    _must(shape == wanted, f"the mask has shape {shape}, want {wanted}")
    _must(output.mask.dtype == torch.bool, f"the mask is {output.mask.dtype}, want torch.bool")
    _must(bool(output.mask[1].all()), "a state is masked in an image without masked pixels")
    _must(places == 1 or not bool(output.mask[0].all()), "no state is masked in an image that is mostly masked")


@_check(
    "shapes",
    "a masked pixel changes no state that counts",
    "a mask that does not reach self-attention",
    role="encoder",
    claim="global attention",
    after=("state-mask",),
)
def _pixel_mask(subject: Subject) -> None:
    masks, other, _ = _mostly_masked(subject)
    with torch.no_grad():
        one, two = (subject.encode(x, pixel_mask=masks) for x in (subject.pixels(), other))
    require_close(two.states[one.mask], one.states[one.mask], "states that count, with other masked pixels", 1e-6)


def _mostly_masked(subject: Subject) -> tuple[Tensor, Tensor, int]:
    """A pixel_mask for two images, the usual pixels with others where it masks them, and how many places there are.

    Of the first image the first pixels alone count, so one patch across or down; what lies behind it for sure is changed.
    """
    pixels, masks = subject.pixels(), torch.ones(2, *subject.pixel_shape()[1:], dtype=torch.bool)
    other, new = pixels.clone(), subject.pixels(seed=2)
    with torch.no_grad():
        rows, columns = subject.encode(pixels).grid or (1, 1)
    if columns > 1:
        masks[0, :, 1:] = False
        other[0, :, :, pixels.shape[3] // columns :] = new[0, :, :, pixels.shape[3] // columns :]
    elif rows > 1:
        masks[0, 1:] = False
        other[0, :, pixels.shape[2] // rows :] = new[0, :, pixels.shape[2] // rows :]
    return masks, other, rows * columns


@_check(
    "shapes",
    "another image size works when asked for, and where not it works too or is refused",
    "positions that are not resized, or an image size that is not checked",
    role="encoder",
    claim="resize",
    after=("deterministic",),
    examples=10,
)
def _resize(subject: Subject) -> None:
    channels, height, width = subject.pixel_shape()
    larger = torch.randn(1, channels, 2 * height, 2 * width)
    with torch.no_grad():
        grid = subject.encode(subject.pixels()).grid
        for asked in (True, False):
            try:
                states = subject.encode(larger, interpolate_pos_encoding=asked).states
            except VedcoreError:
                # A table that is not of a square grid says not how to resize it.
                _must(not asked or grid is None or grid[0] != grid[1], "a larger image is refused though asked for")
            else:
                _must(bool(states.isfinite().all()), "states of a larger image are not finite")


@_check(
    "shapes",
    "a wrong shape is an error of ours",
    "torch's own error reaches the user",
    role="encoder",
    after=("deterministic",),
)
def _shape_errors(subject: Subject) -> None:
    channels, height, width = subject.pixel_shape()
    for shape in ((channels, height, width), (1, channels + 1, height, width)):
        try:
            subject.encode(torch.zeros(shape))
        except VedcoreError:
            continue
        except Exception as error:
            raise LawBroken(f"pixels of shape {shape} raise {type(error).__name__}, not a VedcoreError") from error
        raise LawBroken(f"pixels of shape {shape} are taken")


@_check(
    "shapes",
    "embeddings in place of ids give the same",
    "embeddings that are scaled, or looked up or brought to hidden_size elsewhere",
    role="decoder",
    after=("deterministic",),
)
def _inputs_embeds(subject: Subject) -> None:
    ids = subject.ids()
    with torch.no_grad():
        embeds = subject.model.token_embedding(ids)
        shape, wanted = tuple(embeds.shape), (*ids.shape, subject.model.hidden_size)
        _must(shape == wanted, f"token_embedding gives shape {shape}, want {wanted}")
        found = subject.decode(ids, subject.memory(), inputs_embeds=embeds)
        require_close(found, subject.decode(ids, subject.memory()), "logits from embeddings")


@_check(
    "shapes",
    "bfloat16 works and is near float32",
    "a tensor made in float32 in forward",
    after=("deterministic",),
)
def _bfloat16(subject: Subject) -> None:
    wanted = subject.output()
    twin = subject.with_model(copy.deepcopy(subject.model).to(torch.bfloat16))
    with torch.no_grad():
        decoder = subject.is_decoder
        found = twin.decode(twin.ids(), twin.memory()) if decoder else twin.encode(twin.pixels().bfloat16()).states
    _must(found.dtype == torch.bfloat16, f"the output is {found.dtype}")
    require_close(found, wanted, "the output in bfloat16", 0.2)


@_check(
    "shapes",
    "gradients reach every parameter",
    "a parameter that is not used, or a detached tensor",
    after=("deterministic", "looks-at-the-image"),
)
def _gradients(subject: Subject) -> None:
    model = copy.deepcopy(subject.model)
    twin = subject.with_model(model)
    if subject.is_decoder:
        twin.decode(twin.ids(4), twin.memory(4)).square().sum().backward()  # type: ignore[no-untyped-call]
    else:
        twin.encode(twin.pixels(4)).states.pow(3).sum().backward()  # type: ignore[no-untyped-call]
    parts = tuple(f"{path}." for path in model.keymap.optional)
    exempt = (*parts, *subject.record.unread)
    # A bias of all keys adds the same to every score of a query: softmax does not see it.
    unread = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None and not (exempt and name.startswith(exempt)) and not name.endswith("key.bias")
    ]
    _must(not unread, f"no gradient for {', '.join(unread[:4])}")
    read = [name for name, p in model.named_parameters() if p.grad is not None and parts and name.startswith(parts)]
    _must(not read, f"{', '.join(read[:4])} is read, but the keymap says that a file may lack it")


@_check("shapes", "it pickles", "a lambda or an open file kept on the module", after=("deterministic",))
def _pickles(subject: Subject) -> None:
    wanted = subject.output()
    twin = subject.with_model(pickle.loads(pickle.dumps(subject.model)))
    _must(torch.equal(twin.output(), wanted), "the model that was pickled computes something else")
    _must(pickle.loads(pickle.dumps(subject.config)) == subject.config, "the config that was pickled is another")


@_check(
    "shapes",
    "a linear layer may be swapped for another product",
    "a linear's .weight is read past the module",
    after=("deterministic",),
)
def _swapped_linear(subject: Subject) -> None:
    model, scaled = copy.deepcopy(subject.model), copy.deepcopy(subject.model)
    owners: dict[int, int] = {}
    for module in subject.model.modules():
        for parameter in module._parameters.values():
            owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    for name, linear in list(subject.model.named_modules()):
        if type(linear) not in (nn.Linear, Linear) or owners[id(linear.weight)] > 1:
            continue
        path, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(path), leaf, Wrapped(model.get_submodule(name)))
        with torch.no_grad():
            for parameter in scaled.get_submodule(name).parameters():
                parameter.mul_(2)
    twin, wanted = subject.with_model(model), subject.with_model(scaled)
    require_close(twin.output(), wanted.output(), "the output with swapped linears")


# parity


@_check(
    "parity",
    "the numbers are transformers'",
    "another scale, norm, activation, order or position than the reference",
    claim="reference",
    examples=20,
)
def _parity(subject: Subject) -> None:
    theirs = _their_model(subject)
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        twin = subject.with_model(subject.record.model.from_pretrained(folder))
    with torch.no_grad():
        if subject.is_decoder:
            ids, states = subject.ids(), torch.randn(2, 4, subject.model.memory_size)
            memory = remember(twin.model, EncoderOutput(states)) if subject.born_looking else None
            image = {"encoder_hidden_states": states} if subject.born_looking else {}
            wanted = _reference(lambda: theirs(input_ids=ids, **image).logits)
            found = twin.decode(ids, memory)
        else:
            wanted = _reference(lambda: theirs(subject.pixels()).last_hidden_state)
            found = twin.encode(subject.pixels()).states
    require_close(found, wanted, "the output beside transformers'")


# cache


@_check(
    "cache", "decoding with a cache equals decoding without", "positions or a mask that forget the past", role="decoder"
)
def _cache(subject: Subject) -> None:
    ids, memory = subject.ids(), subject.memory()
    with torch.no_grad():
        wanted = subject.decode(ids, memory)
        cache = subject.cache(len(ids))
        first = subject.decode(ids[:, :2], memory, cache=cache)
        steps = [subject.decode(ids[:, i : i + 1], memory, start=i, cache=cache) for i in range(2, ids.shape[1])]
    require_close(torch.cat([first, *steps], dim=1), wanted, "logits with a cache")


@_check(
    "cache",
    "rows of unequal length share a step",
    "positions or slots that are taken from the first row",
    role="decoder",
    after=("cache",),
)
def _unequal_rows(subject: Subject) -> None:
    ids, memory = subject.ids(), subject.memory()
    if ids.shape[1] < 4:
        return
    with torch.no_grad():
        wanted = subject.decode(ids, memory)
        cache = subject.cache(2)
        subject.decode(ids[:, :3], memory, cache=cache)
        slots = torch.tensor([[2], [3]])  # row 0 is one token behind
        step = Step(slots=slots, mask=causal_mask(slots, 4), extent=4, memory=memory, cache=cache)
        found = subject.model.lm_head(subject.model(torch.stack([ids[0, 2:3], ids[1, 3:4]]), step))
    require_close(found, torch.stack([wanted[0, 2:3], wanted[1, 3:4]]), "logits of rows of unequal length")


@_check("cache", "the rows of an image share its memory", "keys that are expected once a row", role="decoder")
def _shared_memory(subject: Subject) -> None:
    ids = subject.ids(4)
    states = torch.randn(2, 4, subject.model.memory_size)
    with torch.no_grad():
        shared = subject.decode(ids, remember(subject.model, EncoderOutput(states)))
        own = subject.decode(ids, remember(subject.model, EncoderOutput(states.repeat_interleave(2, dim=0))))
        require_close(shared, own, "logits of rows that share an image")
        memory, rows = remember(subject.model, EncoderOutput(states)), torch.tensor([1, 0, 0, 1])
        memory.rows = rows
        named = subject.decode(ids, memory)
        own = subject.decode(ids, remember(subject.model, EncoderOutput(states[rows])))
    require_close(named, own, "logits of rows that name their image")


@_check(
    "cache",
    "torch.compile takes it as one graph",
    "a value read from a tensor, or Python that depends on one",
    examples=1,
)
def _compile(subject: Subject) -> None:
    program, arguments, wanted = _exportable(subject)
    torch._dynamo.reset()
    with torch.no_grad():
        found = torch.compile(program, fullgraph=True, backend="aot_eager")(*arguments)
    require_close(found, wanted, "the output when compiled")


@_check(
    "cache",
    "torch.export takes an encode, and a decoding step",
    "Python that depends on a tensor's values",
    after=("compile",),
    examples=1,
)
def _export(subject: Subject) -> None:
    program, arguments, wanted = _exportable(subject)
    with torch.no_grad():
        exported = torch.export.export(program, arguments)
        require_close(exported.module()(*arguments), wanted, "the output when exported")


@_check(
    "cache",
    "it runs without storage, and so on any device",
    "a tensor made in forward without the device of its input",
    after=("compile",),
)
def _meta(subject: Subject) -> None:
    with torch.device("meta"):
        model = subject.record.model(subject.config)
        prepare(model)
    twin = subject.with_model(model.to("meta"))
    if subject.is_decoder:
        memory = remember(model, EncoderOutput(torch.zeros(2, 3, model.memory_size, device="meta")))
        out = twin.decode(torch.zeros(2, 4, dtype=torch.long, device="meta"), memory)
    else:
        out = twin.encode(torch.zeros(2, *subject.pixel_shape(), device="meta")).states
    _must(out.is_meta, "the output is not on the meta device")


class _Encode(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        states: Tensor = self.model(pixels).states
        return states


class _DecodeStep(nn.Module):
    """A token behind two others, its keys and values written into a cache that is an argument."""

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        self.model, self.subject = subject.model, subject

    def forward(self, ids: Tensor, states: Tensor) -> Tensor:
        memory = remember(self.model, EncoderOutput(states))
        cache = self.subject.cache(ids.shape[0], 4)
        self.subject.decode(ids[:, :2], memory, cache=cache)
        return self.subject.decode(ids[:, 2:3], memory, start=2, cache=cache)


def _exportable(subject: Subject) -> tuple[nn.Module, tuple[Tensor, ...], Tensor]:
    if not subject.is_decoder:
        return _Encode(subject.model), (subject.pixels(),), subject.output()
    arguments = (subject.ids()[:, :3], torch.randn(2, 4, subject.model.memory_size))
    program = _DecodeStep(subject)
    with torch.no_grad():
        return program, arguments, program(*arguments)


# files


@_check("files", "what is saved is loaded, to the bit", "a tensor that is not saved, or a field that is not written")
def _save_and_load(subject: Subject) -> None:
    model = subject.record.model(subject.config)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        stored = model.state_dict(keep_vars=True)  # with what training changes beside parameters: running statistics
        for name, buffer in model.named_buffers():
            if name in stored and buffer.is_floating_point():
                buffer.add_(torch.rand(buffer.shape, generator=generator))
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        again = subject.record.model.from_pretrained(folder)
    saved, loaded = model.state_dict(), again.state_dict()
    _must(saved.keys() == loaded.keys(), f"other tensors: {sorted(saved.keys() ^ loaded.keys())[:4]}")
    lost = [name for name, tensor in saved.items() if loaded[name].is_meta or not torch.equal(tensor, loaded[name])]
    _must(not lost, f"{', '.join(lost[:4])} came back with other values")
    before, after = (subject.with_model(each.eval()).output() for each in (model, again))
    _must(torch.equal(before, after), "the model that was loaded computes something else than the one that was saved")
    ours, back = model.config.to_dict(), again.config.to_dict()
    other = [name for name in ours if ours[name] != back.get(name) and name != "extra"]
    _must(not other, f"config fields came back changed: {', '.join(other)}")


@_check(
    "files",
    "a file that lacks a tensor, or has one more, is refused",
    "a rule or a dropped prefix that hides a name",
    after=("save-and-load",),
)
def _strict_load(subject: Subject) -> None:
    model = subject.record.model(subject.config)
    tensors = save_sections(model.sections())
    optional = tuple(model.keymap.optional)
    # One of a kind: what holds for a tensor of one layer holds for it in the others.
    kinds = {re.sub(r"\d+", "#", name): name for name in tensors if not (optional and name.startswith(optional))}
    variants: list[tuple[str, dict[str, Tensor]]] = [
        (f"without {name}", {k: v for k, v in tensors.items() if k != name}) for name in kinds.values()
    ]
    variants.append(("with one more", {**tensors, "surplus.weight": torch.zeros(1)}))
    for what, variant in variants:
        with tempfile.TemporaryDirectory() as folder:
            write_json(Path(folder) / "config.json", model.config.to_dict())
            write_tensors(Path(folder), variant, "1GB")
            try:
                subject.record.model.from_pretrained(folder)
            except CheckpointError:
                continue
        raise LawBroken(f"a file {what} was loaded")


@_check(
    "files",
    "transformers loads what we save, whole",
    "a name or a layout on disk that is not the published one",
    claim="reference",
    after=("save-and-load",),
    examples=5,
)
def _reference_loads(subject: Subject) -> None:
    import transformers

    kind = getattr(transformers, subject.record.reference or "")
    model = subject.record.model(subject.config)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        fields = {"is_decoder": True, "add_cross_attention": subject.born_looking} if subject.is_decoder else {}
        config = type(_their_config(subject)).from_pretrained(folder, **fields)
        _, info = kind.from_pretrained(folder, config=config, output_loading_info=True)
    told = [
        f"{what} {sorted(info[what])[:4]}"
        for what in ("missing_keys", "unexpected_keys", "mismatched_keys")
        if info[what]
    ]
    _must(not told, f"transformers reports {'; '.join(told)}")


def _reference(run: Callable[[], Tensor]) -> Tensor:
    """What the reference computes; a config on which it fails itself says nothing about us."""
    try:
        return run()
    except Exception:
        hypothesis.reject()


def _their_config(subject: Subject, *, given: bool = True) -> Any:
    import transformers

    fields = {name: value for name, value in subject.config.to_dict().items() if name != "model_type" and given}
    if subject.is_decoder:
        fields |= {"is_decoder": True, "add_cross_attention": True}
    return transformers.AutoConfig.for_model(subject.record.name, **fields)


def _their_model(subject: Subject) -> Any:
    import transformers

    torch.manual_seed(1)
    config = _their_config(subject)
    if subject.is_decoder:
        config.add_cross_attention = subject.born_looking
    model = getattr(transformers, subject.record.reference or "")(config).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model


def _state(model: nn.Module) -> dict[str, Any]:
    """What hangs on the modules: the names of all attributes, and what tells their values apart."""
    return {
        f"{path}.{name}".lstrip("."): mark
        for path, module in model.named_modules()
        for key, value in vars(module).items()
        for name, mark in (
            ((name, _mark(item)) for name, item in value.items())
            if key in ("_parameters", "_buffers", "_modules")
            else ((key, _mark(value)),)
        )
    }


def _mark(value: Any) -> Any:
    """Plain values themselves, collections item by item, and which object anything else is."""
    if isinstance(value, bool | int | float | str | type(None)):
        return value
    if isinstance(value, dict):
        return [(str(key), _mark(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return [_mark(item) for item in value]
    return (id(value), len(value) if isinstance(value, set) else None, getattr(value, "_version", 0))


def _alike(written: Any, given: Any) -> bool:
    return written == given or (isinstance(given, tuple) and written == list(given))


def _wrong(value: Any) -> list[Any]:
    """Values of other types, from which a lenient reader makes ``value``."""
    if isinstance(value, bool | float | str | list | tuple):
        return [[value] if isinstance(value, str) else str(value)]
    return [str(value), value + 0.5] if isinstance(value, int) else []
