"""Inputs and outputs: shapes, masks, gradients, and no state on the module."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import torch
from torch import Tensor, nn

from vedcore.contract.types import EncoderOutput, Recorder, Step, causal_mask
from vedcore.errors import VedcoreError
from vedcore.nn import Linear
from vedcore.testing.checks.base import check, must
from vedcore.testing.subject import LawBroken, Subject, Wrapped, remember, require_close


@check("outputs have the shapes of the protocol and are finite", "a transposed axis, or one token too many")
def _shapes(subject: Subject) -> None:
    model = subject.model
    with torch.no_grad():
        if subject.is_decoder:
            for ids in (subject.ids(), subject.ids()[:1, :1]):
                logits = subject.decode(ids, subject.memory(len(ids)))
                must(
                    tuple(logits.shape) == (*ids.shape, model.sizes.vocab_size),
                    f"logits have shape {tuple(logits.shape)}",
                )
                must(bool(logits.isfinite().all()), "logits are not finite")
            return
        output, blank = subject.encode(subject.pixels()), subject.encode(torch.zeros_like(subject.pixels()))
    shape = tuple(output.states.shape)
    must(len(shape) == 3 and shape[0] == 2 and shape[2] == model.hidden_size, f"states have shape {shape}")
    must(bool(output.states.isfinite().all()), "states are not finite")
    must(bool(blank.states.isfinite().all()), "states of a blank image are not finite")
    if output.grid is not None:
        expected = output.extra + output.grid[0] * output.grid[1]
        must(
            expected == shape[1], f"extra {output.extra} and grid {output.grid} make {expected} states, not {shape[1]}"
        )


@check(
    "the last of max_positions tokens has a position",
    "max_positions is larger than the number of rows that the position table has for tokens",
    role="decoder",
    after=("shapes",),
)
def _last_position(subject: Subject) -> None:
    if subject.model.sizes.max_positions is None:
        return
    with torch.no_grad():
        subject.decode(subject.ids()[:, :1], subject.memory(), start=subject.model.sizes.max_positions - 1)


@check(
    "the largest position id and the largest token type have a vector",
    "sizes.position_ids or sizes.token_types is larger than the table",
    role="decoder",
    after=("last-position",),
)
def _largest_ids(subject: Subject) -> None:
    sizes, ids, memory = subject.model.sizes, subject.ids(), subject.memory()
    largest = {"positions": sizes.position_ids or sizes.max_positions, "token_types": sizes.token_types}
    with torch.no_grad():
        for name, count in largest.items():
            if count:
                options: dict[str, Any] = {name: torch.full_like(ids, count - 1)}
                subject.decode(ids, memory, **options)


@check(
    "a forward pass does not change the module",
    "a cache, a mask or a counter stored on the module",
    after=("shapes",),
)
def _stateless(subject: Subject) -> None:
    before = _state(subject.model)
    subject.output()
    after = _state(subject.model)
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    must(not changed, f"{', '.join(changed[:4])} changed")


@check(
    "in eval mode the same input gives the same output",
    "dropout that is active in eval mode",
    after=("stateless",),
)
def _deterministic(subject: Subject) -> None:
    must(torch.equal(subject.output(), subject.output()), "two calls give different outputs")


@check(
    "forward composes embed, the blocks and the norm",
    "a forward that does something which embed, the blocks or the norm do not",
    role="decoder",
    after=("deterministic",),
)
def _composition(subject: Subject) -> None:
    model, ids, memory = subject.model, subject.ids(), subject.memory()
    slots = torch.arange(ids.shape[1])[None]
    step = Step(slots=slots, mask=causal_mask(slots, ids.shape[1]), extent=ids.shape[1], memory=memory)
    with torch.no_grad():
        composed = model.norm(model.blocks(model.embed(ids, step), step, model.cross))
        require_close(model(ids, step), composed, "the hidden states of forward")


@check(
    "a trace receives the hidden states and does not change the output",
    "a trace that is never called, or a step that is passed on without its trace",
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
    least = (
        len(subject.model.sizes.layers) + 1 if subject.is_decoder else 2
    )  # the input of the first layer, the output of each
    must(len(seen) >= least, f"the trace received {len(seen)} hidden states, expected at least {least}")
    shapes = [tuple(states.shape) for states in seen]
    must(
        all(len(shape) == 3 and shape[0] == 2 for shape in shapes),
        f"the trace received hidden states of shapes {shapes}",
    )
    require_close(found, subject.output(), "the output with a trace")


@check(
    "a row does not depend on the other rows",
    "a mean or a norm over the batch, or state that rows share",
    after=("deterministic",),
)
def _batch_independence(subject: Subject) -> None:
    with torch.no_grad():
        if subject.is_decoder:
            ids, states = subject.ids(3), torch.randn(3, 4, subject.model.sizes.memory_size)
            whole = subject.decode(ids, remember(subject.model, EncoderOutput(states)))
            for row in range(3):
                alone = remember(subject.model, EncoderOutput(states[row : row + 1]))
                require_close(whole[row : row + 1], subject.decode(ids[row : row + 1], alone), f"row {row} alone")
            return
        pixels = subject.pixels(3)
        whole = subject.encode(pixels).states
        for row in range(3):
            require_close(whole[row : row + 1], subject.encode(pixels[row : row + 1]).states, f"row {row} alone")


@check(
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
    require_close(after[:, :-1], before[:, :-1], "logits before the changed token", 1e-6)


@check(
    "the logits depend on the image",
    "cross-attention that is skipped, or a memory that is not read",
    role="decoder",
    after=("deterministic",),
)
def _looks_at_the_image(subject: Subject) -> None:
    with torch.no_grad():
        one, other = (subject.decode(subject.ids(), subject.memory(seed=seed)) for seed in (1, 2))
    must(not torch.equal(one, other), "the logits are the same for two images")


@check(
    "a masked state of the image does not change the logits",
    "cross-attention that does not read memory.mask",
    role="decoder",
    after=(
        "batch-independence",
        "looks-at-the-image",
    ),
)
def _memory_mask(subject: Subject) -> None:
    states = torch.randn(2, 5, subject.model.sizes.memory_size)
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]).bool()
    other = states.masked_scatter(~mask[..., None], torch.randn_like(states))
    with torch.no_grad():
        one, two = (
            subject.decode(subject.ids(), remember(subject.model, EncoderOutput(s, mask))) for s in (states, other)
        )
        whole = subject.decode(subject.ids(), remember(subject.model, EncoderOutput(states)))
    require_close(two, one, "logits after a change of the masked states", 1e-6)
    must(not torch.equal(whole[0], one[0]), "the mask has no effect")


@check(
    "a padding token does not change the tokens after it",
    "self-attention that does not read step.mask, or positions that ignore step.positions",
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
            positions=(slots - padded).clamp(min=0),  # the positions that the tokens have without the padding
            mask=causal_mask(slots, tokens.shape[1], keys),
            extent=tokens.shape[1],
            memory=subject.memory(),
        )
        return subject.model.lm_head(subject.model(tokens, step))[:, padded:]  # type: ignore[no-any-return]

    with torch.no_grad():
        require_close(logits(ids, 1), logits(ids[:, 1:], 0), "logits after a padding token")


@check(
    "a mask of the pixels becomes a mask of the states",
    "a pixel_mask that is not read, or a mask that is not returned",
    role="encoder",
    after=("batch-independence",),
)
def _state_mask(subject: Subject) -> None:
    masks, _, count = _mostly_masked(subject)
    with torch.no_grad():
        output = subject.encode(subject.pixels(), pixel_mask=masks)
    if output.mask is None:
        raise LawBroken("the encoder received a pixel_mask and returned no mask")
    shape, wanted = tuple(output.mask.shape), tuple(output.states.shape[:2])
    must(shape == wanted, f"the mask has shape {shape}, expected {wanted}")
    must(output.mask.dtype == torch.bool, f"the mask is {output.mask.dtype}, expected torch.bool")
    must(bool(output.mask[1].all()), "a state is masked in an image without masked pixels")
    must(count == 1 or not bool(output.mask[0].all()), "no state is masked in an image that is mostly masked")


@check(
    "a masked pixel does not change an unmasked state",
    "a mask that does not reach self-attention",
    role="encoder",
    claim="global attention",
    after=("state-mask",),
)
def _pixel_mask(subject: Subject) -> None:
    masks, other, _ = _mostly_masked(subject)
    with torch.no_grad():
        one, two = (subject.encode(x, pixel_mask=masks) for x in (subject.pixels(), other))
    require_close(
        two.states[one.mask], one.states[one.mask], "unmasked states after a change of the masked pixels", 1e-6
    )


def _mostly_masked(subject: Subject) -> tuple[Tensor, Tensor, int]:
    """-> a pixel_mask (2, height, width), the usual pixels with other values where it masks them, the size of the grid.

    Of the first image only the first column of pixels counts, or only the first row if the grid has one column. The pixels
    change only where they are surely outside the first patch.
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


@check(
    "another image size works with interpolate_pos_encoding=True; without, it works or is refused",
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
        for interpolate in (True, False):
            try:
                states = subject.encode(larger, interpolate_pos_encoding=interpolate).states
            except VedcoreError:
                # The sides of a grid do not follow from its table of positions, unless it is square.
                refusable = not interpolate or grid is None or grid[0] != grid[1]
                must(refusable, "a larger image is refused despite interpolate_pos_encoding=True")
            else:
                must(bool(states.isfinite().all()), "states of a larger image are not finite")


@check(
    "a wrong shape raises a VedcoreError",
    "a shape that is not checked, so torch raises its own error",
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
        raise LawBroken(f"pixels of shape {shape} are accepted")


@check(
    "inputs_embeds give the same logits as their ids",
    "embeddings that are scaled or projected outside token_embedding",
    role="decoder",
    after=("deterministic",),
)
def _inputs_embeds(subject: Subject) -> None:
    ids = subject.ids()
    with torch.no_grad():
        embeds = subject.model.token_embedding(ids)
        shape, wanted = tuple(embeds.shape), (*ids.shape, subject.model.sizes.hidden_size)
        must(shape == wanted, f"token_embedding gives shape {shape}, expected {wanted}")
        found = subject.decode(ids, subject.memory(), inputs_embeds=embeds)
        require_close(found, subject.decode(ids, subject.memory()), "logits from inputs_embeds")


@check(
    "bfloat16 works and is near float32",
    "a float32 tensor made in forward",
    after=("deterministic",),
)
def _bfloat16(subject: Subject) -> None:
    wanted = subject.output()
    rounded = subject.with_model(copy.deepcopy(subject.model).to(torch.bfloat16))
    with torch.no_grad():
        if subject.is_decoder:
            found = rounded.decode(rounded.ids(), rounded.memory())
        else:
            found = rounded.encode(rounded.pixels().bfloat16()).states
    must(found.dtype == torch.bfloat16, f"the output is {found.dtype}")
    require_close(found, wanted, "the output in bfloat16", 0.2)


@check(
    "every parameter has a gradient",
    "a parameter that is not used, or a detached tensor",
    after=("deterministic", "looks-at-the-image"),
)
def _gradients(subject: Subject) -> None:
    model = copy.deepcopy(subject.model)
    trained = subject.with_model(model)
    if subject.is_decoder:
        trained.decode(trained.ids(4), trained.memory(4)).square().sum().backward()  # type: ignore[no-untyped-call]
    else:
        trained.encode(trained.pixels(4)).states.pow(3).sum().backward()  # type: ignore[no-untyped-call]
    parts = tuple(f"{path}." for path in model.keymap.optional)
    exempt = (*parts, *subject.spec.unread)
    # The keys' bias adds the same number to all scores of a query, so softmax cancels it and its gradient may be absent.
    unread = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None and not (exempt and name.startswith(exempt)) and not name.endswith("key.bias")
    ]
    must(not unread, f"no gradient for {', '.join(unread[:4])}")
    read = [name for name, p in model.named_parameters() if p.grad is not None and parts and name.startswith(parts)]
    must(
        not read,
        f"{', '.join(read[:4])} is used, but the keymap calls it optional, so a file may lack it",
    )


@check("the model and its config can be pickled", "a lambda or an open file on the module", after=("deterministic",))
def _pickles(subject: Subject) -> None:
    wanted = subject.output()
    unpickled = subject.with_model(pickle.loads(pickle.dumps(subject.model)))
    must(torch.equal(unpickled.output(), wanted), "the unpickled model computes other numbers")
    must(pickle.loads(pickle.dumps(subject.config)) == subject.config, "the unpickled config differs")


@check(
    "a linear layer can be replaced by another module",
    "code that reads a linear layer's .weight instead of calling the layer",
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
    found, wanted = subject.with_model(model), subject.with_model(scaled)
    require_close(found.output(), wanted.output(), "the output with replaced linear layers")


def _state(model: nn.Module) -> dict[str, Any]:
    """All attributes of all modules, by name: a mark for each that changes when the attribute changes."""
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
    """A plain value itself, the marks of a collection's items, the identity of any other object."""
    if isinstance(value, bool | int | float | str | type(None)):
        return value
    if isinstance(value, dict):
        return [(str(key), _mark(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return [_mark(item) for item in value]
    return (id(value), len(value) if isinstance(value, set) else None, getattr(value, "_version", 0))
