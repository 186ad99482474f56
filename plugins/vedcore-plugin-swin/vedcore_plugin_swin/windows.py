"""Windows of a grid, shifted or not, and the position bias inside them.

Shapes: B images, h x w the grid, W windows in an image, T = side * side states in a window, D hidden size, H heads.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Windows(NamedTuple):
    """A grid (h, w) that is rolled up and left by ``shift`` and then cut into windows of ``side`` x ``side``.

    Zeros pad the last windows at the right and at the bottom. As in training, attention does not mask them.
    """

    grid: tuple[int, int]
    side: int
    shift: int

    @classmethod
    def over(cls, grid: tuple[int, int], side: int, shift: int) -> Windows:
        """The windows of ``grid``. If it is not larger than a window, the window shrinks to it and is not shifted."""
        return cls(grid, min(grid), 0) if min(grid) <= side else cls(grid, side, shift)

    @property
    def counts(self) -> tuple[int, int]:
        """The number of windows down and across."""
        return -(-self.grid[0] // self.side), -(-self.grid[1] // self.side)

    def split(self, x: Tensor) -> Tensor:
        """(B, h, w, D) -> (B W, T, D)."""
        (height, width), (down, across) = self.grid, self.counts
        x = F.pad(x, (0, 0, 0, across * self.side - width, 0, down * self.side - height))
        if self.shift:
            x = x.roll((-self.shift, -self.shift), dims=(1, 2))
        x = x.view(len(x), down, self.side, across, self.side, -1).transpose(2, 3)
        return x.flatten(3, 4).flatten(0, 2)

    def join(self, x: Tensor) -> Tensor:
        """(B W, T, D) -> (B, h, w, D)."""
        (height, width), (down, across) = self.grid, self.counts
        x = x.view(-1, down, across, self.side, self.side, x.shape[2]).transpose(2, 3)
        x = x.flatten(3, 4).flatten(1, 2)
        if self.shift:
            x = x.roll((self.shift, self.shift), dims=(1, 2))
        return x[:, :height, :width]

    def strangers(self, device: torch.device) -> Tensor:
        """-> (W, T, T), True for two states that are in one window only because of the roll."""
        down, across = self.counts
        rows, columns = (self._regions(count * self.side, device) for count in (down, across))
        regions = (rows[:, None] * 3 + columns).view(down, self.side, across, self.side).transpose(1, 2)
        regions = regions.flatten(2).flatten(0, 1)  # (W, T)
        return regions[:, :, None] != regions[:, None, :]

    def _regions(self, length: int, device: torch.device) -> Tensor:
        """-> (length,): along one axis of the rolled grid, 1 in the last window, 2 in its part that was rolled in, else 0."""
        places = torch.arange(length, device=device)
        return (places >= length - self.side).long() + (places >= length - self.shift)


class WindowBias(nn.Module):
    """A learned number for each head and offset, added to the scores inside a window (Liu et al., section 3.2)."""

    STRANGERS = -100.0  # added to the scores of ``strangers``; not minus infinity, as in training

    def __init__(self, window_size: int, num_heads: int) -> None:
        super().__init__()
        self.window_size = window_size
        self.table = nn.Parameter(torch.zeros((2 * window_size - 1) ** 2, num_heads))

    def forward(self, windows: Windows, batch: int) -> Tensor:
        """-> (1, H, T, T), or (B W, H, T, T) if the windows are shifted.

        In a window that shrank, an offset has the same number as in a whole one.
        """
        places = torch.arange(windows.side, device=self.table.device)
        offsets = places[:, None] - places + self.window_size - 1
        index = offsets[:, None, :, None] * (2 * self.window_size - 1) + offsets[:, None, :]  # from (row, column) to
        bias = self.table[index.flatten(2).flatten(0, 1)].permute(2, 0, 1).contiguous()[None]
        if not windows.shift:
            return bias
        bias = bias + self.STRANGERS * windows.strangers(bias.device)[:, None].to(bias.dtype)
        return bias.expand(batch, *bias.shape).flatten(0, 1)
