"""Positions: of patches, learned for one grid and resized for others; of tokens, counted or offset."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vedcore.errors import InputError


def resize_positions(positions: Tensor, grid: tuple[int, int], extra: int) -> Tensor:
    """(1, extra + N, D) for a square grid of N patches -> (1, extra + h w, D) for ``grid`` (h, w), bicubic.

    The rows of the ``extra`` leading tokens stay (Dosovitskiy et al., arXiv:2010.11929, section 3.2).
    """
    leading, patches = positions[:, :extra], positions[:, extra:]
    side = math.isqrt(patches.shape[1])
    if side**2 != patches.shape[1]:
        raise InputError(
            f"positions for {patches.shape[1]} patches are not those of a square grid, so they cannot be resized to "
            f"{grid[0]} x {grid[1]}; give images of the size that the encoder was trained for"
        )
    table = patches.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    table = F.interpolate(table, size=grid, mode="bicubic", align_corners=False)
    return torch.cat([leading, table.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


def positions_from_ids(input_ids: Tensor, slots: Tensor, pad: int) -> Tensor:
    """(R, T) ids in (R or 1, T) slots -> (R, T) positions that pass padding over: fairseq's rule (RoBERTa, TrOCR).

    The first token stands at ``pad`` + 1; a padding token at ``pad``.
    """
    real = input_ids != pad
    return (real.cumsum(dim=1) + slots[:, :1]) * real + pad


class OffsetPositions(nn.Embedding):
    """Learned positions whose table starts two rows late: fairseq counted the padding index (BART, TrOCR)."""

    OFFSET = 2

    def __init__(self, max_positions: int, hidden_size: int) -> None:
        super().__init__(max_positions + self.OFFSET, hidden_size)

    def forward(self, positions: Tensor) -> Tensor:
        """(R or 1, T) positions from 0 -> (R or 1, T, D)."""
        return super().forward(positions + self.OFFSET)
