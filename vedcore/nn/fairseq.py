"""Bricks of the decoders that come from fairseq: BART, MBart, TrOCR. Shapes: R rows, T tokens, D hidden size."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from vedcore.nn.text import check_pad


class ScaledEmbedding(nn.Embedding):
    """A token embedding that multiplies its output by a number. The table itself, which the head shares, is not scaled."""

    def __init__(self, vocab_size: int, hidden_size: int, *, scale: float, pad: int | None = None) -> None:
        """pad: the token whose vector starts at zero and is not trained.

        Raises ConfigError if ``pad`` is not in the vocabulary.
        """
        check_pad(pad, vocab_size)
        super().__init__(vocab_size, hidden_size, padding_idx=pad)
        self.scale = scale

    def forward(self, input_ids: Tensor) -> Tensor:
        """(R, T) ids -> (R, T, D)."""
        return super().forward(input_ids) * self.scale


class LayerDrop:
    """A forward hook that in training skips a block in a random share of the passes (Fan et al., arXiv:1909.11556).

    It is a hook and not a wrapper, so the names of the weights do not change. The block is computed, and then its output is
    replaced by its input: so no Python code depends on the random number, and every weight has a gradient, though it may be
    zero.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, block: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        """The output (R, T, D) of the block, or its input."""
        if not block.training:
            return None
        return torch.where(torch.rand((), device=output.device) < self.rate, inputs[0], output)


def drop_layers(blocks: Iterable[nn.Module], rate: float) -> None:
    """Register a ``LayerDrop`` on each block. A rate of 0 registers nothing."""
    if rate:
        for block in blocks:
            block.register_forward_hook(LayerDrop(rate))
