"""The numbers of transformers."""

from __future__ import annotations

import tempfile

import torch

from vedcore.contract.types import EncoderOutput
from vedcore.testing.checks.base import check
from vedcore.testing.checks.reference import reference, their_model
from vedcore.testing.subject import Subject, remember, require_close


@check(
    "the numbers are transformers'",
    "another scale, norm, activation, order or position than the reference",
    claim="reference",
    examples=20,
)
def _parity(subject: Subject) -> None:
    theirs = their_model(subject)
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        twin = subject.with_model(subject.record.model.from_pretrained(folder))
    with torch.no_grad():
        if subject.is_decoder:
            ids, states = subject.ids(), torch.randn(2, 4, subject.model.memory_size)
            memory = remember(twin.model, EncoderOutput(states)) if subject.born_looking else None
            image = {"encoder_hidden_states": states} if subject.born_looking else {}
            wanted = reference(lambda: theirs(input_ids=ids, **image).logits)
            found = twin.decode(ids, memory)
        else:
            wanted = reference(lambda: theirs(subject.pixels()).last_hidden_state)
            found = twin.encode(subject.pixels()).states
    require_close(found, wanted, "the output beside transformers'")
