"""The output of a forward pass.

Shapes: B images, R rows, T tokens, L keys, S encoder states, D hidden size, H heads, V vocabulary size.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from vedcore.contract.types import Output
from vedcore.generation import PastKeyValues


@dataclass(slots=True)
class VisionEncoderDecoderOutput(Output):
    """The output of a forward pass: the fields of transformers' Seq2SeqLMOutput, None where nothing was requested.

    loss: (). logits: (R, T, V). past_key_values: four tensors per layer. decoder_hidden_states: (R, T, D) of the embeddings
    and of each block. decoder_attentions (R, H, T, L), cross_attentions (R, H, T, S): one per layer.
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
