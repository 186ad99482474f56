"""The relative position bias: a learned number for the offset between two patches, added to an attention score.

Shapes: S = 1 + h w, the class token and then a grid (h, w) of patches; H heads.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_CLASS_TOKEN = 3  # rows at the end of each table: class token to patch, patch to class token, class token to itself


def offsets(grid: tuple[int, int], device: torch.device) -> Tensor:
    """-> (S, S): for each pair of states of a grid, their row in the table. Offsets go row by row, from (1 - h, 1 - w)."""
    (height, width), (rows, columns) = grid, (torch.arange(side, device=device) for side in grid)
    down = rows[:, None] - rows + height - 1  # (h, h)
    across = columns[:, None] - columns + width - 1  # (w, w)
    patches = down[:, None, :, None] * (2 * width - 1) + across[:, None, :]  # (h, w, h, w)
    index = F.pad(patches.flatten(2).flatten(0, 1), (1, 0, 1, 0))
    after = (2 * height - 1) * (2 * width - 1)
    index[0, :], index[:, 0] = after, after + 1
    index[0, 0] = after + 2
    return index


class RelativeBias(nn.Module):
    """A learned number for each head and each offset."""

    def __init__(self, grid: tuple[int, int], num_heads: int) -> None:
        super().__init__()
        down, across = (2 * side - 1 for side in grid)
        # transformers resizes the table as if its rows were columns, even for the grid that it was made for. We must do the
        # same, because the weights of a grid that is not square were trained that way.
        self.read_as = (across, down)
        self.table = nn.Parameter(torch.zeros(down * across + _CLASS_TOKEN, num_heads))

    def forward(self, grid: tuple[int, int], index: Tensor) -> Tensor:
        """A grid and its ``offsets`` (S, S) -> (1, H, S, S)."""
        table = self.table.t()
        wanted = (2 * grid[0] - 1, 2 * grid[1] - 1)
        if wanted != self.read_as:
            patches = table[:, :-_CLASS_TOKEN].reshape(1, -1, *self.read_as)
            patches = F.interpolate(patches, size=wanted, mode="bilinear")
            table = torch.cat([patches[0].flatten(1), table[:, -_CLASS_TOKEN:]], dim=1)
        # With the numbers of one head side by side this is several times faster than a lookup of rows and a transposition.
        return table.contiguous().index_select(1, index.flatten()).view(1, -1, *index.shape)
