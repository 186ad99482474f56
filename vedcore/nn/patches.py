"""Pixels to patches. Shapes: B images, C channels, N patches, S states with the leading tokens, D hidden size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vedcore.errors import ConfigError, InputError
from vedcore.nn.linear import Linear
from vedcore.nn.mlp import activation
from vedcore.nn.positions import resize_positions
from vedcore.speed.products import linear


class PatchConvolution(nn.Conv2d):
    """A convolution whose stride is its kernel, without padding: it reads each pixel once.

    Without a gradient it is one product, for which the pixels are laid out patch by patch: a convolution brings image and
    kernel into forms of its own first, which for one line of text takes longer than to compute it. It learns faster.
    """

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(B, C, height, width) -> (B, D, h, w)."""
        if torch.is_grad_enabled():
            return super().forward(pixel_values)
        images, channels, height, width = pixel_values.shape
        down, across = self.kernel_size
        h, w = height // down, width // across
        if (h * down, w * across) != (height, width):
            pixel_values = pixel_values[:, :, : h * down, : w * across]
        patches = pixel_values.reshape(images, channels, h, down, w, across).permute(0, 2, 4, 1, 3, 5)
        states = linear(patches.reshape(images, h * w, channels * down * across), self.weight.flatten(1), self.bias)
        return states.transpose(1, 2).view(images, self.out_channels, h, w)


class Patches(nn.Module):
    """Cut images into patches that do not overlap, and embed each: one convolution whose stride is its size."""

    def __init__(self, num_channels: int, hidden_size: int, patch_size: tuple[int, int]) -> None:
        super().__init__()
        self.num_channels, self.patch_size = num_channels, patch_size
        self.projection = PatchConvolution(num_channels, hidden_size, kernel_size=patch_size, stride=patch_size)

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """(B, C, height, width) -> (B, N, D) row by row, and the grid (h, w). Raises InputError."""
        if pixel_values.dim() != 4 or pixel_values.shape[1] != self.num_channels:
            raise InputError(
                f"expected pixel_values of shape (batch, {self.num_channels}, height, width), got {tuple(pixel_values.shape)}"
            )
        if pixel_values.shape[2] < self.patch_size[0] or pixel_values.shape[3] < self.patch_size[1]:
            found, least = (f"{h} x {w}" for h, w in (pixel_values.shape[2:], self.patch_size))
            raise InputError(f"an image of {found} pixels is smaller than one patch of {least}")
        x = self.projection(pixel_values.to(self.projection.weight.dtype))
        return x.flatten(2).transpose(1, 2), (x.shape[2], x.shape[3])


class PatchEmbeddings(nn.Module):
    """Patches behind leading tokens (class, distillation), each with a learned position: ViT, DeiT."""

    def __init__(
        self,
        num_channels: int,
        hidden_size: int,
        image_size: tuple[int, int],
        patch_size: tuple[int, int],
        *,
        leading: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        rows, columns = patch_grid(image_size, patch_size)
        self.image_size, self.leading = image_size, leading
        self.patches = Patches(num_channels, hidden_size, patch_size)
        self.positions = nn.Parameter(torch.empty(1, leading + rows * columns, hidden_size))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, pixel_values: Tensor, *tokens: Tensor, interpolate_pos_encoding: bool
    ) -> tuple[Tensor, tuple[int, int]]:
        """(B, C, height, width) and the leading ``tokens``, (1, 1, D) each -> (B, S, D) and the grid (h, w).

        Raises InputError for another image size than the positions were trained for, unless they may be interpolated.
        """
        x, grid = self.patches(pixel_values)
        positions: Tensor = self.positions
        if interpolate_pos_encoding:
            height, width = pixel_values.shape[-2:]
            # As the reference has it: a square image with as many patches takes the table as it is.
            if height != width or positions.shape[1] - self.leading != grid[0] * grid[1]:
                positions = resize_positions(positions, grid, extra=self.leading)
        elif tuple(pixel_values.shape[-2:]) != self.image_size:
            wanted, found = (f"{h} x {w}" for h, w in (self.image_size, pixel_values.shape[-2:]))
            raise InputError(
                f"expected images of {wanted} pixels (height x width), got {found}; resize them, or pass "
                "interpolate_pos_encoding=True"
            )
        x = torch.cat([*(token.expand(len(x), -1, -1) for token in tokens), x], dim=1)
        return self.dropout(x + positions), grid


class ClassPooler(nn.Module):
    """The head of the first token. Carried so that checkpoints keep it; a decoder never reads it."""

    def __init__(self, hidden_size: int, output_size: int, act: str) -> None:
        super().__init__()
        self.dense = Linear(hidden_size, output_size)
        self.act = activation(act)

    def forward(self, states: Tensor) -> Tensor:
        """(B, S, D) -> (B, output_size)."""
        return self.act(self.dense(states[:, 0]))


def patch_grid(image_size: tuple[int, int], patch_size: tuple[int, int]) -> tuple[int, int]:
    """(h, w): the whole patches down and across an image. ConfigError if there are none."""
    (height, width), (down, across) = image_size, patch_size
    if height < down or width < across:
        raise ConfigError(f"image_size {height} x {width} must hold at least one patch of {down} x {across}")
    return height // down, width // across


def patch_mask(
    pixel_mask: Tensor | None, pixel_values: Tensor, patch_size: tuple[int, int], *, extra: int = 0
) -> Tensor | None:
    """(B, height, width) bool pixels that count -> (B, extra + h w): a patch counts if any of its pixels does.

    The ``extra`` leading tokens always count. InputError unless the mask has the size of the images.
    """
    if pixel_mask is None:
        return None
    wanted = (pixel_values.shape[0], *pixel_values.shape[-2:])
    if tuple(pixel_mask.shape) != wanted:
        raise InputError(f"expected pixel_mask of shape {wanted} (batch, height, width), got {tuple(pixel_mask.shape)}")
    patches = F.max_pool2d(pixel_mask[:, None].float(), patch_size, stride=patch_size).flatten(1) > 0
    return F.pad(patches, (extra, 0), value=True)
