"""The two kinds of positions that TrOCR decoders have. Shapes: R rows, T tokens, D hidden size."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from vedcore import ConfigError, Step
from vedcore.nn import OffsetPositions, positions_from_ids


class LearnedPositions(nn.Module):
    """A learned vector for each slot, also for slots with padding."""

    def __init__(self, max_positions: int, hidden_size: int) -> None:
        super().__init__()
        self.table = OffsetPositions(max_positions, hidden_size)

    def forward(self, input_ids: Tensor | None, step: Step) -> Tensor:
        """(R, T) ids, or None with inputs_embeds -> (R or 1, T, D)."""
        return self.table(step.slots if step.positions is None else step.positions)  # type: ignore[no-any-return]


class SinusoidalPositions(nn.Module):
    """Sines, then cosines, of geometric frequencies. Padding is not counted, and its vector is zero.

    The layout is that of tensor2tensor: sines and cosines are the two halves of a vector. In Vaswani et al., section 3.5,
    they are interleaved.
    """

    def __init__(self, max_positions: int, hidden_size: int, pad: int | None) -> None:
        """Raises ConfigError without a padding token, because positions start after it."""
        if pad is None:
            raise ConfigError(
                "sinusoidal positions (use_learned_position_embeddings false) need a pad_token_id",
                field="pad_token_id",
                expected="a token id",
            )
        super().__init__()
        self.pad = pad
        table = sinusoids(max_positions + pad + 1, hidden_size)
        table[pad] = 0
        self.register_buffer("table", table, persistent=False)

    def forward(self, input_ids: Tensor | None, step: Step) -> Tensor:
        """(R, T) ids, or None with inputs_embeds, which contain no padding -> (R or 1, T, D)."""
        if step.positions is None and input_ids is not None:
            rows = positions_from_ids(input_ids, cast(Tensor, step.slots), self.pad)
        else:
            rows = cast(Tensor, step.slots if step.positions is None else step.positions) + self.pad + 1
        return nn.functional.embedding(rows, cast(Tensor, self.table))


def sinusoids(count: int, width: int) -> Tensor:
    """-> (count, width): in row n sin(n w), then cos(n w), for width // 2 frequencies w from 1 to 1/10000, then a 0 if odd."""
    half = width // 2
    frequencies = torch.exp(torch.arange(half, device="cpu").float() * -(math.log(10000) / max(half - 1, 1)))
    angles = torch.arange(count, device="cpu").float()[:, None] * frequencies
    return nn.functional.pad(torch.cat([angles.sin(), angles.cos()], dim=1), (0, width % 2))
