"""Saving and loading."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from vedcore.errors import CheckpointError
from vedcore.storage.files import write_json
from vedcore.storage.saving import tensors_to_write
from vedcore.storage.tensors import write_tensors
from vedcore.testing.checks.base import check, must
from vedcore.testing.checks.reference import their_config
from vedcore.testing.subject import LawBroken, Subject


@check("a saved model loads with the same bits", "a tensor or a config field that is not saved")
def _save_and_load(subject: Subject) -> None:
    model = subject.record.model(subject.config)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        stored = model.state_dict(keep_vars=True)  # with the buffers that training changes, such as running statistics
        for name, buffer in model.named_buffers():
            if name in stored and buffer.is_floating_point():
                buffer.add_(torch.rand(buffer.shape, generator=generator))
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        again = subject.record.model.from_pretrained(folder)
    saved, loaded = model.state_dict(), again.state_dict()
    must(saved.keys() == loaded.keys(), f"the tensors differ: {sorted(saved.keys() ^ loaded.keys())[:4]}")
    lost = [name for name, tensor in saved.items() if loaded[name].is_meta or not torch.equal(tensor, loaded[name])]
    must(not lost, f"{', '.join(lost[:4])} was loaded with other values")
    before, after = (subject.with_model(each.eval()).output() for each in (model, again))
    must(torch.equal(before, after), "the loaded model computes other numbers than the saved one")
    ours, back = model.config.to_dict(), again.config.to_dict()
    other = [name for name in ours if ours[name] != back.get(name) and name != "extra"]
    must(not other, f"config fields were loaded with other values: {', '.join(other)}")


@check(
    "a file with a missing tensor or a surplus tensor is refused",
    "a prefix in dropped or optional that covers a tensor of the model",
    after=("save-and-load",),
)
def _strict_load(subject: Subject) -> None:
    model = subject.record.model(subject.config)
    tensors = tensors_to_write(model.sections())
    optional = tuple(model.keymap.optional)
    # One layer stands for all: its tensors have the same rules as those of the other layers.
    kinds = {re.sub(r"\d+", "#", name): name for name in tensors if not (optional and name.startswith(optional))}
    variants: list[tuple[str, dict[str, Tensor]]] = [
        (f"without {name}", {k: v for k, v in tensors.items() if k != name}) for name in kinds.values()
    ]
    variants.append(("with a surplus tensor", {**tensors, "surplus.weight": torch.zeros(1)}))
    for what, variant in variants:
        with tempfile.TemporaryDirectory() as folder:
            write_json(Path(folder) / "config.json", model.config.to_dict())
            write_tensors(Path(folder), variant, "1GB")
            try:
                subject.record.model.from_pretrained(folder)
            except CheckpointError:
                continue
        raise LawBroken(f"a file {what} was loaded without an error")


@check(
    "transformers loads all that we save",
    "a name or a layout on disk that differs from the published one",
    claim="reference",
    after=("save-and-load",),
    examples=5,
)
def _reference_loads(subject: Subject) -> None:
    import transformers

    kind = getattr(transformers, subject.spec.reference or "")
    model = subject.record.model(subject.config)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        fields = (
            {"is_decoder": True, "add_cross_attention": subject.has_own_cross_attention} if subject.is_decoder else {}
        )
        config = type(their_config(subject)).from_pretrained(folder, **fields)
        _, info = kind.from_pretrained(folder, config=config, output_loading_info=True)
    problems = [
        f"{what} {sorted(info[what])[:4]}"
        for what in ("missing_keys", "unexpected_keys", "mismatched_keys")
        if info[what]
    ]
    must(not problems, f"transformers reports {'; '.join(problems)}")
