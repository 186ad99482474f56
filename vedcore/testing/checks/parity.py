"""The outputs of transformers."""

from __future__ import annotations

import tempfile

import torch

from vedcore.contract.types import EncoderOutput
from vedcore.testing.checks.base import check
from vedcore.testing.checks.reference import reference, their_model
from vedcore.testing.subject import Subject, remember, require_close


@check(
    "the outputs are those of transformers",
    "a scale, norm, activation, order or position that differs from the reference",
    claim="reference",
    examples=20,
)
def _parity(subject: Subject) -> None:
    theirs = their_model(subject)
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        loaded = subject.with_model(subject.record.model.from_pretrained(folder))
    with torch.no_grad():
        if subject.is_decoder:
            ids, states = subject.ids(), torch.randn(2, 4, subject.model.sizes.memory_size)
            memory = remember(loaded.model, EncoderOutput(states)) if subject.has_own_cross_attention else None
            image = {"encoder_hidden_states": states} if subject.has_own_cross_attention else {}
            wanted = reference(lambda: theirs(input_ids=ids, **image).logits)
            found = loaded.decode(ids, memory)
        else:
            wanted = reference(lambda: theirs(subject.pixels()).last_hidden_state)
            found = loaded.encode(subject.pixels()).states
    require_close(found, wanted, "the output compared with transformers'")
