"""The two kinds of positions that TrOCR decoders have. Shapes: R rows, T tokens, D hidden size."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from vedcore import ConfigError, Step
from vedcore.nn import OffsetPositions, positions_from_ids


class LearnedPositions(nn.Module):
    """A learned vector a slot, whatever token stands in it."""

    def __init__(self, max_positions: int, hidden_size: int) -> None:
        super().__init__()
        self.table = OffsetPositions(max_positions, hidden_size)

    def forward(self, input_ids: Tensor | None, step: Step) -> Tensor:
        """(R, T) ids, or None where embeddings were given -> (R or 1, T, D)."""
        return self.table(step.slots if step.positions is None else step.positions)  # type: ignore[no-any-return]


class SinusoidalPositions(nn.Module):
    """Sines, then cosines, of geometric frequencies; padding is not counted and has the zero vector.

    tensor2tensor's layout: the two halves side by side, where Vaswani et al., section 3.5, has them interleaved.
    """

    def __init__(self, max_positions: int, hidden_size: int, pad: int | None) -> None:
        """ConfigError without a padding token: positions are counted from it."""
        if pad is None:
            raise ConfigError("sinusoidal positions (use_learned_position_embeddings false) need a pad_token_id")
        super().__init__()
        self.pad = pad
        table = sinusoids(max_positions + pad + 1, hidden_size)
        table[pad] = 0
        self.register_buffer("table", table, persistent=False)

    def forward(self, input_ids: Tensor | None, step: Step) -> Tensor:
        """(R, T) ids, or None where embeddings were given, which are no padding -> (R or 1, T, D)."""
        if step.positions is None and input_ids is not None:
            rows = positions_from_ids(input_ids, cast(Tensor, step.slots), self.pad)
        else:
            rows = cast(Tensor, step.slots if step.positions is None else step.positions) + self.pad + 1
        return nn.functional.embedding(rows, cast(Tensor, self.table))


def sinusoids(count: int, width: int) -> Tensor:
    """(count, width): row n is sin(n w) and cos(n w) for width // 2 frequencies w from 1 to 1/10000, odd widths padded."""
    half = width // 2
    frequencies = torch.exp(torch.arange(half, device="cpu").float() * -(math.log(10000) / max(half - 1, 1)))
    angles = torch.arange(count, device="cpu").float()[:, None] * frequencies
    return nn.functional.pad(torch.cat([angles.sin(), angles.cos()], dim=1), (0, width % 2))
