"""Decoding with a cache, step by step; preparing, compiling, exporting and the meta device."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vedcore.contract.types import EncoderOutput, Step, causal_mask
from vedcore.model.prepare import inference_form
from vedcore.testing.checks.base import check, must
from vedcore.testing.subject import Subject, prepare, remember, require_close


@check(
    "decoding with a cache equals decoding without",
    "positions or a mask that do not count the cached tokens",
    role="decoder",
)
def _cache(subject: Subject) -> None:
    ids, memory = subject.ids(), subject.memory()
    with torch.no_grad():
        wanted = subject.decode(ids, memory)
        cache = subject.cache(len(ids))
        first = subject.decode(ids[:, :2], memory, cache=cache)
        steps = [subject.decode(ids[:, i : i + 1], memory, start=i, cache=cache) for i in range(2, ids.shape[1])]
    require_close(torch.cat([first, *steps], dim=1), wanted, "logits with a cache")


@check(
    "rows of unequal length can share a step",
    "positions or slots that are read from the first row only",
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
        slots = torch.tensor([[2], [3]])  # row 0 is one token shorter
        step = Step(slots=slots, mask=causal_mask(slots, 4), extent=4, memory=memory, cache=cache)
        found = subject.model.lm_head(subject.model(torch.stack([ids[0, 2:3], ids[1, 3:4]]), step))
    require_close(found, torch.stack([wanted[0, 2:3], wanted[1, 3:4]]), "logits of rows of unequal length")


@check("rows share the memory of their image", "code that expects keys for each row", role="decoder")
def _shared_memory(subject: Subject) -> None:
    ids = subject.ids(4)
    states = torch.randn(2, 4, subject.model.sizes.memory_size)
    with torch.no_grad():
        shared = subject.decode(ids, remember(subject.model, EncoderOutput(states)))
        own = subject.decode(ids, remember(subject.model, EncoderOutput(states.repeat_interleave(2, dim=0))))
        require_close(shared, own, "logits of rows that share an image")
        memory, rows = remember(subject.model, EncoderOutput(states)), torch.tensor([1, 0, 0, 1])
        memory.rows = rows
        named = subject.decode(ids, memory)
        own = subject.decode(ids, remember(subject.model, EncoderOutput(states[rows])))
    require_close(named, own, "logits with memory.rows")


@check(
    "the prepared model computes what the model computes",
    "a module that reaches another by a reference that is not a submodule, such as an item of a list",
    after=("cache",),
)
def _prepared(subject: Subject) -> None:
    prepared = subject.with_model(inference_form(subject.model))
    with torch.no_grad():
        for count in (1, 3):
            if not subject.is_decoder:
                pixels = subject.pixels(count)
                require_close(
                    prepared.encode(pixels).states, subject.encode(pixels).states, "states of the prepared model"
                )
                continue
            ids = subject.ids(count)
            wanted = subject.decode(ids, subject.memory(count))
            memory, cache = prepared.memory(count), prepared.cache(count)
            require_close(prepared.decode(ids, memory), wanted, "logits of the prepared model")
            if ids.shape[1] < 2:
                continue
            first = prepared.decode(ids[:, :-1], memory, cache=cache)
            last = prepared.decode(ids[:, -1:], memory, start=ids.shape[1] - 1, cache=cache)
            require_close(torch.cat([first, last], dim=1), wanted, "logits of the prepared model with a cache")


@check(
    "torch.compile makes one graph of the model",
    "Python code that reads a tensor's values",
    examples=1,
)
def _compile(subject: Subject) -> None:
    program, arguments, wanted = _exportable(subject)
    torch.compiler.reset()
    with torch.no_grad():
        found = torch.compile(program, fullgraph=True, backend="aot_eager")(*arguments)
    require_close(found, wanted, "the output of the compiled model")


@check(
    "torch.export exports the encoder, or a decoding step",
    "Python code that depends on a tensor's values",
    after=("compile",),
    examples=1,
)
def _export(subject: Subject) -> None:
    program, arguments, wanted = _exportable(subject)
    with torch.no_grad():
        exported = torch.export.export(program, arguments)
        require_close(exported.module()(*arguments), wanted, "the output of the exported model")


@check(
    "the model runs on the meta device, so it runs on any device",
    "a tensor made in forward without the device of the input",
    after=("compile",),
)
def _meta(subject: Subject) -> None:
    with torch.device("meta"):
        model = subject.record.model(subject.config)
        prepare(model)
    on_meta = subject.with_model(model.to("meta"))
    if subject.is_decoder:
        memory = remember(model, EncoderOutput(torch.zeros(2, 3, model.sizes.memory_size, device="meta")))
        out = on_meta.decode(torch.zeros(2, 4, dtype=torch.long, device="meta"), memory)
    else:
        out = on_meta.encode(torch.zeros(2, *subject.pixel_shape(), device="meta")).states
    must(out.is_meta, "the output is not on the meta device")


class _Encode(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        states: Tensor = self.model(pixels).states
        return states


class _DecodeStep(nn.Module):
    """The third token after two others, with a cache that is an argument."""

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
    arguments = (subject.ids()[:, :3], torch.randn(2, 4, subject.model.sizes.memory_size))
    program = _DecodeStep(subject)
    with torch.no_grad():
        return program, arguments, program(*arguments)
