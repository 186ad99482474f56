"""What is saved and loaded."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from vedcore.errors import CheckpointError
from vedcore.storage.files import write_json
from vedcore.storage.sections import save_sections
from vedcore.storage.tensors import write_tensors
from vedcore.testing.checks.base import check, must
from vedcore.testing.checks.reference import their_config
from vedcore.testing.subject import LawBroken, Subject


@check("what is saved is loaded, to the bit", "a tensor that is not saved, or a field that is not written")
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
    must(saved.keys() == loaded.keys(), f"other tensors: {sorted(saved.keys() ^ loaded.keys())[:4]}")
    lost = [name for name, tensor in saved.items() if loaded[name].is_meta or not torch.equal(tensor, loaded[name])]
    must(not lost, f"{', '.join(lost[:4])} came back with other values")
    before, after = (subject.with_model(each.eval()).output() for each in (model, again))
    must(torch.equal(before, after), "the model that was loaded computes something else than the one that was saved")
    ours, back = model.config.to_dict(), again.config.to_dict()
    other = [name for name in ours if ours[name] != back.get(name) and name != "extra"]
    must(not other, f"config fields came back changed: {', '.join(other)}")


@check(
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


@check(
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
        config = type(their_config(subject)).from_pretrained(folder, **fields)
        _, info = kind.from_pretrained(folder, config=config, output_loading_info=True)
    told = [
        f"{what} {sorted(info[what])[:4]}"
        for what in ("missing_keys", "unexpected_keys", "mismatched_keys")
        if info[what]
    ]
    must(not told, f"transformers reports {'; '.join(told)}")
