"""Patch embeddings.

Shapes: B images, C channels, (h, w) grid of N = h w patches, S states (leading tokens and patches), D hidden size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vedcore.errors import ConfigError, InputError
from vedcore.nn.positions import resize_positions
from vedcore.speed.products import linear


class PatchConvolution(nn.Conv2d):
    """A convolution whose stride is the size of its kernel, without padding.

    Without gradients it is computed as one matrix product of the patches: a convolution first reorders image and kernel, which
    for the image of a line takes longer than the product. With gradients the convolution is faster.
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
    """Split images into patches that do not overlap, and embed each patch."""

    def __init__(self, num_channels: int, hidden_size: int, patch_size: tuple[int, int]) -> None:
        super().__init__()
        self.num_channels, self.patch_size = num_channels, patch_size
        self.projection = PatchConvolution(num_channels, hidden_size, kernel_size=patch_size, stride=patch_size)

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """(B, C, height, width) -> (B, N, D), row by row, and the grid (h, w).

        Raises InputError for another number of dimensions or channels, and for images smaller than a patch.
        """
        if pixel_values.dim() != 4 or pixel_values.shape[1] != self.num_channels:
            raise InputError(
                f"expected pixel_values of shape (batch, {self.num_channels}, height, width), got {tuple(pixel_values.shape)}",
                tensor="pixel_values",
                expected=("batch", self.num_channels, "height", "width"),
                found=tuple(pixel_values.shape),
            )
        if pixel_values.shape[2] < self.patch_size[0] or pixel_values.shape[3] < self.patch_size[1]:
            found, patch = (f"{h} x {w}" for h, w in (pixel_values.shape[2:], self.patch_size))
            raise InputError(
                f"images of {found} pixels are smaller than one patch of {patch}; resize them",
                tensor="pixel_values",
                expected=f"at least {patch} pixels",
                found=tuple(pixel_values.shape),
            )
        x = self.projection(pixel_values.to(self.projection.weight.dtype))
        return x.flatten(2).transpose(1, 2), (x.shape[2], x.shape[3])


class PatchEmbeddings(nn.Module):
    """Leading tokens (class, distillation), then patches, all with learned positions: ViT, DeiT."""

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
        """image_size, patch_size: (height, width) in pixels. leading: the number of leading tokens.

        Raises ConfigError if an image has no whole patch.
        """
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

        Raises InputError if the images do not have the config's size, unless ``interpolate_pos_encoding`` is true.
        """
        x, grid = self.patches(pixel_values)
        positions: Tensor = self.positions
        if interpolate_pos_encoding:
            height, width = pixel_values.shape[-2:]
            # As in transformers: a square image with the same number of patches uses the positions unchanged.
            if height != width or positions.shape[1] - self.leading != grid[0] * grid[1]:
                positions = resize_positions(positions, grid, extra=self.leading)
        elif tuple(pixel_values.shape[-2:]) != self.image_size:
            wanted, found = (f"{h} x {w}" for h, w in (self.image_size, pixel_values.shape[-2:]))
            raise InputError(
                f"expected images of {wanted} pixels (height x width), got {found}; resize them, or pass "
                "interpolate_pos_encoding=True",
                tensor="pixel_values",
                expected=self.image_size,
                found=tuple(pixel_values.shape[-2:]),
            )
        x = torch.cat([*(token.expand(len(x), -1, -1) for token in tokens), x], dim=1)
        return self.dropout(x + positions), grid


class RegisterTokens(nn.Module):
    """Learned tokens without a position, after the leading ones (Darcet et al., arXiv:2309.16588): DINOv2."""

    def __init__(self, count: int, hidden_size: int, *, after: int = 1) -> None:
        """after: the number of tokens before them."""
        super().__init__()
        self.after = after
        self.tokens = nn.Parameter(torch.zeros(1, count, hidden_size))

    def forward(self, x: Tensor) -> Tensor:
        """(B, S, D) -> (B, S + count, D)."""
        tokens = self.tokens.expand(len(x), -1, -1)
        return torch.cat([x[:, : self.after], tokens, x[:, self.after :]], dim=1)


def patch_grid(image_size: tuple[int, int], patch_size: tuple[int, int]) -> tuple[int, int]:
    """(h, w): the numbers of whole patches in an image. Sizes are (height, width) in pixels.

    Raises ConfigError if an image has no whole patch.
    """
    (height, width), (down, across) = image_size, patch_size
    if height < down or width < across:
        raise ConfigError(
            f"image_size {height} x {width} must hold at least one patch of {down} x {across}",
            field="image_size",
            expected=f"at least {down} x {across}",
            found=image_size,
        )
    return height // down, width // across


def patch_mask(
    pixel_mask: Tensor | None, pixel_values: Tensor, patch_size: tuple[int, int], *, extra: int = 0
) -> Tensor | None:
    """(B, height, width) bool, False for padding -> (B, extra + N) bool, False for patches that contain only padding.

    pixel_values: (B, C, height, width). extra: the number of leading tokens, which are always True. None without a mask.
    Raises InputError unless the mask has the size of the images.
    """
    if pixel_mask is None:
        return None
    wanted = (pixel_values.shape[0], *pixel_values.shape[-2:])
    if tuple(pixel_mask.shape) != wanted:
        raise InputError(
            f"expected pixel_mask of shape {wanted} (batch, height, width), got {tuple(pixel_mask.shape)}",
            tensor="pixel_mask",
            expected=wanted,
            found=tuple(pixel_mask.shape),
        )
    patches = F.max_pool2d(pixel_mask[:, None].float(), patch_size, stride=patch_size).flatten(1) > 0
    return F.pad(patches, (extra, 0), value=True)
