"""One pass of the decoder: the step that takes new tokens after a past, and what the traces of a pass observed.

Shapes: R rows, T new tokens, L tokens with the past.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vedcore.contract.protocols import Decoder
from vedcore.contract.types import Memory, Recorder, Step, Trace, causal_mask
from vedcore.generation import PastKeyValues, SelfCache, TorchLoop
from vedcore.model.checks import NewTokens


@dataclass(slots=True)
class Traces:
    """What ``output_attentions`` and ``output_hidden_states`` record in the encoder and in the decoder."""

    encoder: Recorder | None
    decoder: Recorder | None

    @classmethod
    def of(cls, attentions: bool | None, hidden_states: bool | None) -> Traces:
        """The recorders that these arguments need, None if they need none."""
        kinds = (*(("hidden",) if hidden_states else ()), *(("self", "cross") if attentions else ()))
        return cls(Recorder(*kinds), Recorder(*kinds)) if kinds else cls(None, None)

    def fields(self, hidden: Tensor, *, encoded: bool) -> dict[str, Any]:
        """The fields of the output. hidden: (R, T, D) of the last layer, after the norm. encoded: the encoder ran."""
        if self.encoder is None or self.decoder is None:
            return {}
        states = self.decoder.all("hidden")
        fields: dict[str, Any] = {
            "decoder_hidden_states": None if states is None else (*states[:-1], hidden),
            "decoder_attentions": self.decoder.all("self"),
            "cross_attentions": self.decoder.all("cross"),
        }
        if encoded:
            fields["encoder_hidden_states"] = self.encoder.all("hidden")
            fields["encoder_attentions"] = self.encoder.all("self")
        return fields


def next_step(
    decoder: Decoder,
    tokens: NewTokens,
    past: PastKeyValues | None,
    memory: Memory,
    use_cache: bool | None,
    trace: Trace | None,
) -> tuple[Step, SelfCache | None]:
    """The step that takes new tokens after ``past``, and the cache for the pass after it, if any.

    use_cache: None means yes unless gradients are recorded.
    """
    given = tokens.given
    rows, count = given.shape[:2]
    start = 0 if past is None else past.length
    extent = start + count
    cache = None
    if past is not None:
        cache = past.cache.copy(extent)
    elif use_cache or (use_cache is None and not torch.is_grad_enabled()):
        cache = TorchLoop(decoder).new_cache(rows, extent)
    if cache is not None:
        cache.set_lengths(cache.lengths.new_full((rows,), extent))
    slots = torch.arange(start, extent, device=given.device)[None]
    keys = None if tokens.attention_mask is None else tokens.attention_mask.bool()
    step = Step(
        slots=slots,
        positions=tokens.positions,
        token_types=tokens.token_types,
        mask=causal_mask(slots, extent, keys),
        extent=extent,
        memory=memory,
        cache=cache,
        trace=trace,
    )
    return step, cache if use_cache is not False else None
