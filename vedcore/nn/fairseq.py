"""Two habits of the decoders that come from fairseq: BART, MBart, TrOCR. Shapes: R rows, T tokens, D hidden size."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vedcore.nn.text import check_pad


class ScaledEmbedding(nn.Embedding):
    """Token vectors, multiplied on their way out; what shares the table (the head, given embeddings) is not."""

    def __init__(self, vocab_size: int, hidden_size: int, *, scale: float, pad: int | None = None) -> None:
        """pad: the token whose vector starts at zero and is not trained. ConfigError if the vocabulary lacks it."""
        check_pad(pad, vocab_size)
        super().__init__(vocab_size, hidden_size, padding_idx=pad)
        self.scale = scale

    def forward(self, input_ids: Tensor) -> Tensor:
        """(R, T) ids -> (R, T, D)."""
        return super().forward(input_ids) * self.scale


class LayerDrop:
    """In training, leave a whole block out of a random share of the passes (Fan et al., arXiv:1909.11556).

    A forward hook, not a wrapper: a block's weights keep their names, and nothing runs where no rate is set. The block is
    computed and then passed over, so that no graph waits for the draw and each weight has a gradient, if a zero one.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, block: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        """What leaves the block: ``output`` (R, T, D), or what entered it."""
        if not block.training:
            return None
        return torch.where(torch.rand((), device=output.device) < self.rate, inputs[0], output)
