"""Pixels to patches. Shapes: B images, C channels, N patches, D hidden size."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vedcore.errors import InputError


class Patches(nn.Module):
    """Cut images into patches that do not overlap, and embed each: one convolution whose stride is its size."""

    def __init__(self, num_channels: int, hidden_size: int, patch_size: tuple[int, int]) -> None:
        super().__init__()
        self.num_channels, self.patch_size = num_channels, patch_size
        self.projection = nn.Conv2d(num_channels, hidden_size, kernel_size=patch_size, stride=patch_size)

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """(B, C, height, width) -> (B, N, D) row by row, and the grid (h, w). Raises InputError."""
        if pixel_values.dim() != 4 or pixel_values.shape[1] != self.num_channels:
            raise InputError(
                f"expected pixel_values of shape (batch, {self.num_channels}, height, width), got {tuple(pixel_values.shape)}"
            )
        x = self.projection(pixel_values.to(self.projection.bias.dtype))
        return x.flatten(2).transpose(1, 2), (x.shape[2], x.shape[3])


def check_image_size(pixel_values: Tensor, image_size: tuple[int, int]) -> None:
    """InputError unless ``pixel_values`` (B, C, height, width) has the size that the positions were trained for."""
    found = tuple(pixel_values.shape[-2:])
    if found != image_size:
        raise InputError(
            f"expected images of {image_size[0]} x {image_size[1]} pixels (height x width), got {found[0]} x {found[1]}; "
            "resize them, or pass interpolate_pos_encoding=True"
        )


def patch_mask(pixel_mask: Tensor | None, grid: tuple[int, int], extra: int) -> Tensor | None:
    """(B, height, width) bool pixels that count -> (B, extra + h w): a patch counts if any of its pixels does.

    The ``extra`` leading tokens always count.
    """
    if pixel_mask is None:
        return None
    if pixel_mask.dim() != 3:
        raise InputError(f"expected pixel_mask of shape (batch, height, width), got {tuple(pixel_mask.shape)}")
    patches = F.adaptive_max_pool2d(pixel_mask[:, None].float(), grid).flatten(1) > 0
    return F.pad(patches, (extra, 0), value=True)
