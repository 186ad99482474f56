"""The core: an encoder, a bridge and a decoder as one model, in four calls. Start reading here.

From an image to text::

    pixel_values (B, C, height, width)
      -> encode    the encoder's states (B, S, D)
      -> remember  the keys and values of every cross-attention, once per image
      -> step      ids (R, T) and a Step (cache slots, mask, memory) -> hidden states (R, T, D)
      -> logits    scores (R, T, V) of the next token

``vedcore.generation`` repeats the last two: a ``Session`` feeds the tokens that it chooses to a ``Loop``, which runs the
decoder, and the head on the last tokens only. Caches and all other state are arguments: a forward pass leaves its modules as
they were.
Shapes: B images, R rows of text (one or more per image), T tokens, S encoder states, D hidden size, V vocabulary size.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from vedcore.contract.protocols import Decoder, Encoder
from vedcore.contract.types import EncoderOutput, Memory, Step, Trace
from vedcore.speed.preparable import Preparable


class EncoderDecoder(Preparable):
    """Any encoder and any decoder. The bridge brings the encoder's states to the width that cross-attention reads."""

    encoder: Encoder
    decoder: Decoder
    bridge: nn.Module

    def __init__(self, encoder: Any, decoder: Any, bridge: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder, self.bridge = encoder, decoder, bridge

    def encode(
        self,
        pixel_values: Tensor,
        *,
        pixel_mask: Tensor | None = None,
        interpolate_pos_encoding: bool = False,
        trace: Trace | None = None,
    ) -> EncoderOutput:
        """(B, C, height, width) -> states (B, S, D), before the bridge.

        pixel_mask: (B, height, width) bool, False for padding. interpolate_pos_encoding: accept images of another size than
        the encoder was trained with.
        """
        return self.encoder(
            pixel_values, pixel_mask=pixel_mask, interpolate_pos_encoding=interpolate_pos_encoding, trace=trace
        )

    def remember(self, output: EncoderOutput) -> Memory:
        """States (B, S, D) -> the keys and values of every cross-attention, which all rows of an image share."""
        bridged = self.bridge(output)
        layers = self.decoder.cross or ()
        return Memory(tuple(layer.remember(bridged.states) for layer in layers), bridged.mask)

    def step(self, input_ids: Tensor | None, step: Step, *, inputs_embeds: Tensor | None = None) -> Tensor:
        """(R, T) ids, or (R, T, D) embeddings in their place -> (R, T, D) hidden states."""
        return self.decoder(input_ids, step, inputs_embeds=inputs_embeds)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., D) hidden states -> (..., V)."""
        scores: Tensor = self.decoder.lm_head(hidden)
        return scores
