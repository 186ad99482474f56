"""Position embeddings: resized for other grids of patches; positions of tokens that skip padding or have an offset.

Shapes: R rows, T tokens, N patches, (h, w) grid, D hidden size.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vedcore.errors import InputError


def resize_positions(positions: Tensor, grid: tuple[int, int], extra: int) -> Tensor:
    """(1, extra + N, D) for a square grid of N patches -> (1, extra + h w, D) for ``grid`` (h, w), by bicubic interpolation.

    The positions of the ``extra`` leading tokens do not change (Dosovitskiy et al., arXiv:2010.11929, section 3.2).
    Raises InputError if N is not a square number.
    """
    leading, patches = positions[:, :extra], positions[:, extra:]
    side = math.isqrt(patches.shape[1])
    if side**2 != patches.shape[1]:
        raise InputError(
            f"the {patches.shape[1]} trained patches do not form a square grid, so their positions cannot be resized to "
            f"{grid[0]} x {grid[1]}; pass images of the size that the encoder was trained for",
            tensor="pixel_values",
            expected="a square number of trained patches",
            found=patches.shape[1],
        )
    table = patches.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    table = F.interpolate(table, size=grid, mode="bicubic", align_corners=False)
    return torch.cat([leading, table.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


def positions_from_ids(input_ids: Tensor, slots: Tensor, pad: int) -> Tensor:
    """(R, T) ids in (R or 1, T) slots of the cache -> (R, T) positions that do not count padding: RoBERTa, TrOCR.

    The first token has position ``pad`` + 1, and every padding token has position ``pad`` (the rule of fairseq).
    """
    real = input_ids != pad
    return (real.cumsum(dim=1) + slots[:, :1]) * real + pad


class OffsetPositions(nn.Embedding):
    """Learned positions with an offset of two rows, because fairseq counts positions from the padding id: BART, TrOCR."""

    OFFSET = 2

    def __init__(self, max_positions: int, hidden_size: int) -> None:
        super().__init__(max_positions + self.OFFSET, hidden_size)

    def forward(self, positions: Tensor) -> Tensor:
        """(R or 1, T) positions from 0 -> (R or 1, T, D)."""
        return super().forward(positions + self.OFFSET)
