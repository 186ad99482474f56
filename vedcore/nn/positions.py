"""Position embeddings of images: learned for one grid of patches, resized for others."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def resize_positions(positions: Tensor, grid: tuple[int, int], extra: int) -> Tensor:
    """(1, extra + N, D) for a square grid of N patches -> (1, extra + h w, D) for ``grid`` (h, w), bicubic.

    The rows of the ``extra`` leading tokens stay (Dosovitskiy et al., arXiv:2010.11929, section 3.2).
    """
    leading, patches = positions[:, :extra], positions[:, extra:]
    side = math.isqrt(patches.shape[1])
    table = patches.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    table = F.interpolate(table, size=grid, mode="bicubic", align_corners=False)
    return torch.cat([leading, table.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)
