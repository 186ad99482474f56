"""What a pass returns, and what a caller may give in the place of an encoder's output.

Shapes: B images, R rows, T tokens, L keys, S encoder states, D hidden size, H heads, V vocabulary size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vedcore.contract.types import EncoderOutput, Output
from vedcore.errors import InputError
from vedcore.generation import PastKeyValues


@dataclass(slots=True)
class VisionEncoderDecoderOutput(Output):
    """What a forward pass returns: the fields of transformers' Seq2SeqLMOutput, None where nothing was asked for.

    loss: (). logits: (R, T, V). past_key_values: four tensors a layer. decoder_hidden_states: a (R, T, D) each for the
    embeddings and each block. decoder_attentions (R, H, T, L), cross_attentions (R, H, T, S): a layer each.
    encoder_last_hidden_state: (B, S, D), before the bridge; encoder_hidden_states, encoder_attentions: as the decoder's.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: PastKeyValues | None = None
    decoder_hidden_states: tuple[Tensor, ...] | None = None
    decoder_attentions: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None
    encoder_last_hidden_state: Tensor | None = None
    encoder_hidden_states: tuple[Tensor, ...] | None = None
    encoder_attentions: tuple[Tensor, ...] | None = None


def encoder_output(given: Any) -> EncoderOutput:
    """What a caller passes for ``encoder_outputs``: ours, a tuple, or an object with ``last_hidden_state``.

    Raises InputError unless it holds states (B, S, D), at least one, and a mask (B, S) of bools if any.
    """
    first = given[0] if isinstance(given, tuple | list) and given else getattr(given, "last_hidden_state", given)
    output = given if isinstance(given, EncoderOutput) else EncoderOutput(first)
    states, mask = output.states, output.mask
    if not isinstance(states, Tensor) or states.dim() != 3 or 0 in states.shape[:2] or not states.is_floating_point():
        raise InputError(
            "encoder_outputs must be an EncoderOutput, or hold the states (batch, tokens, hidden size) first: floating-point "
            f"numbers, at least one image and one token, got {_told(states)}"
        )
    is_mask = isinstance(mask, Tensor) and mask.dtype == torch.bool and mask.shape == states.shape[:2]
    if mask is not None and not is_mask:
        raise InputError(f"the mask of encoder_outputs must be bools of {tuple(states.shape[:2])}, got {_told(mask)}")
    return output


def _told(value: Any) -> str:
    return f"{value.dtype} of {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
