"""The training objective: the decoder's loss and, if configured, a CTC loss on the encoder's states.

B images, S encoder states, T tokens of a label, V vocabulary size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vedcore.contract.types import EncoderOutput
from vedcore.errors import ConfigError
from vedcore.model import VisionEncoderDecoderModel
from vedcore.model.labels import shift_right
from vedcore.model.loss import IGNORED, token_loss
from vedcore.nn import Linear


class Objective(nn.Module):
    """The losses of a batch, each summed over the labels.

    ctc: adds a CTC loss (Graves et al., 2006) with a linear layer of its own. It teaches the encoder's states which letter is
    where, so that the decoder starts to use the image earlier.
    """

    def __init__(self, model: VisionEncoderDecoderModel, *, label_smoothing: float = 0.0, ctc: bool = False) -> None:
        super().__init__()
        self.model, self.label_smoothing = model, label_smoothing
        self.ctc = Linear(model.encoder.hidden_size, model.decoder.sizes.vocab_size) if ctc else None

    def forward(self, pixel_values: Tensor, labels: Tensor) -> Tensor:
        """(B, C, height, width) pixels, (B, T) labels with the end token and then -100 -> (2,) the sums of the two losses.

        Does not check the labels, because that would wait for the device.
        """
        config = self.model.config
        encoded = self.model.encode(pixel_values)
        ids = shift_right(labels, start=config.decoder_start_token_id, pad=config.pad_token_id)
        output = self.model(encoder_outputs=encoded, decoder_input_ids=ids)
        loss = token_loss(output.logits, labels, self.label_smoothing).sum
        return torch.stack(
            [loss, loss.new_zeros(()) if self.ctc is None else self._ctc_loss(self.ctc, encoded, labels)]
        )

    def _ctc_loss(self, layer: Linear, encoded: EncoderOutput, labels: Tensor) -> Tensor:
        """() The blank is the padding token, which no label contains. A label longer than the states counts as 0."""
        if self.model.config.pad_token_id is None:
            raise ConfigError(
                "the CTC loss (loss.ctc) needs a padding token for its blank; set model.config.pad_token_id",
                field="pad_token_id",
                expected="a token id",
            )
        states = encoded.states[:, encoded.extra :]
        if encoded.grid is not None:  # a line is read from left to right: each column of patches is one state
            states = torch.unflatten(states, 1, encoded.grid).mean(1)
        scores = layer(states).log_softmax(-1, dtype=torch.float32).transpose(0, 1)
        return F.ctc_loss(
            scores,
            labels.clamp(min=0),
            torch.full((len(labels),), len(scores)),
            (labels != IGNORED).sum(1) - 1,  # without the end token, which no column of an image shows
            blank=self.model.config.pad_token_id,
            reduction="sum",
            zero_infinity=True,
        )
