"""The tower that Swin and Donut's encoder share: patches, then stages of window attention, each on a coarser grid.

Shapes: B images, C channels, h x w the grid of patches, D hidden size. Inside, states keep the shape of their grid.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vedcore import ConfigError, EncoderOutput, InputError, Step, Trace
from vedcore.config import pair
from vedcore.nn import MLP, Blocks, DropPath, Linear, Patches, SelfAttention, patch_grid, patch_mask, resize_positions
from vedcore_plugin_swin.config import SwinSizes
from vedcore_plugin_swin.windows import WindowBias, Windows


class Tower(nn.Module):
    """Images to the states of the last stage, before a last norm."""

    def __init__(self, config: SwinSizes, *, leading_positions: int, out_dropout: float) -> None:
        """leading_positions: the first rows of the position table, which belong to no patch. out_dropout: after attention.

        Raises ConfigError if ``num_heads`` and ``depths`` have different lengths.
        """
        super().__init__()
        if len(config.num_heads) != len(config.depths):
            raise ConfigError(
                f"num_heads {config.num_heads} and depths {config.depths} must have one entry for each stage",
                field="num_heads",
                expected=f"{len(config.depths)} entries",
                found=config.num_heads,
            )
        self.patches = Patches(config.num_channels, config.embed_dim, pair(config.patch_size))
        self.norm = nn.LayerNorm(config.embed_dim)  # layer_norm_eps does not apply to this norm
        self.positions = GridPositions(config, leading_positions) if config.use_absolute_embeddings else None
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.stages = nn.ModuleList(Stage(config, i, out_dropout) for i in range(len(config.depths)))

    def forward(
        self, pixel_values: Tensor, *, pixel_mask: Tensor | None, interpolate_pos_encoding: bool, trace: Trace | None
    ) -> EncoderOutput:
        """(B, C, height, width) -> states (B, h w, D) of the last grid. Raises InputError."""
        if pixel_values.dim() != 4 or 0 in pixel_values.shape:
            raise InputError(
                f"expected pixel_values (batch, channels, height, width), got {tuple(pixel_values.shape)}",
                tensor="pixel_values",
                expected="(batch, channels, height, width)",
                found=tuple(pixel_values.shape),
            )
        mask = self.token_mask(pixel_mask, pixel_values)
        (height, width), (down, across) = pixel_values.shape[2:], self.patches.patch_size
        x, grid = self.patches(F.pad(pixel_values, (0, -width % across, 0, -height % down)))
        x = self.norm(x).unflatten(1, grid)
        if self.positions is not None:
            x = x + self.positions(grid, interpolate=interpolate_pos_encoding)
        x = self.dropout(x)
        for i, stage in enumerate(self.stages):
            if trace is not None:
                trace("hidden", i, x.flatten(1, 2))
            x = stage(x, i, trace)
        if trace is not None:
            trace("hidden", len(self.stages), x.flatten(1, 2))
        return EncoderOutput(x.flatten(1, 2), mask, (x.shape[1], x.shape[2]))

    def token_mask(self, pixel_mask: Tensor | None, pixel_values: Tensor) -> Tensor | None:
        """(B, height, width) -> (B, h w) of the last grid. A state is masked if all pixels of its cell are.

        Raises InputError if the mask has another size than the images.
        """
        if pixel_mask is None:
            return None
        batch, _, height, width = pixel_values.shape
        if pixel_mask.shape != (batch, height, width):
            raise InputError(
                f"expected pixel_mask of shape {(batch, height, width)}, got {tuple(pixel_mask.shape)}",
                tensor="pixel_mask",
                expected=(batch, height, width),
                found=tuple(pixel_mask.shape),
            )
        down, across = (side * 2 ** (len(self.stages) - 1) for side in self.patches.patch_size)
        pixel_mask = F.pad(pixel_mask.float(), (0, -width % across, 0, -height % down))
        return patch_mask(pixel_mask, pixel_mask[:, None], (down, across))


class GridPositions(nn.Module):
    """A learned vector for each patch of an image of ``image_size``."""

    def __init__(self, config: SwinSizes, leading: int) -> None:
        super().__init__()
        self.grid, self.leading = patch_grid(pair(config.image_size), pair(config.patch_size)), leading
        self.table = nn.Parameter(torch.zeros(1, leading + self.grid[0] * self.grid[1], config.embed_dim))

    def forward(self, grid: tuple[int, int], *, interpolate: bool) -> Tensor:
        """-> (1, h, w, D) for ``grid``.

        Raises InputError for a grid other than the trained one, unless ``interpolate`` is set and the trained one is square.
        """
        positions: Tensor = self.table
        if grid != self.grid:
            found, trained = (f"{h} x {w}" for h, w in (grid, self.grid))
            if not interpolate:
                raise InputError(
                    f"expected images of {trained} patches (down x across), got {found}; resize them, or pass "
                    "interpolate_pos_encoding=True",
                    tensor="pixel_values",
                    expected=self.grid,
                    found=grid,
                )
            if self.grid[0] != self.grid[1]:
                raise InputError(
                    f"only the positions of a square grid can be resized to {found}, these are {trained}",
                    tensor="pixel_values",
                    expected=self.grid,
                    found=grid,
                )
            positions = resize_positions(positions, grid, extra=self.leading)
        return positions[:, self.leading :].view(1, *grid, -1)


class Stage(nn.Module):
    """Blocks whose windows are shifted in every second block, then the merge to the grid of the next stage."""

    def __init__(self, config: SwinSizes, index: int, out_dropout: float) -> None:
        super().__init__()
        depth, before, total = config.depths[index], sum(config.depths[:index]), sum(config.depths)
        rates = [config.drop_path_rate * i / max(total - 1, 1) for i in range(before, before + depth)]
        shifts = [i % 2 * (config.window_size // 2) for i in range(depth)]
        self.blocks = Blocks(
            WindowBlock(config, index, shift=shift, drop_path=rate, out_dropout=out_dropout)
            for shift, rate in zip(shifts, rates, strict=True)
        )
        last = index == len(config.depths) - 1
        self.merge = nn.Identity() if last else PatchMerging(config.width(index))

    def forward(self, x: Tensor, index: int, trace: Trace | None) -> Tensor:
        """(B, h, w, D) -> (B, ceil(h / 2), ceil(w / 2), 2 D); the last stage keeps the shape."""
        step = Step(trace=None if trace is None else last_attention(trace, index, len(self.blocks)))
        return self.merge(self.blocks(x, step))  # type: ignore[no-any-return]


def last_attention(trace: Trace, stage: int, depth: int) -> Trace:
    """A trace for the blocks of ``stage``. It passes on only the attention of the last block, as that of the stage."""

    def seen(kind: str, layer: int, tensor: Tensor) -> None:
        if kind == "self" and layer == depth - 1:
            trace("self", stage, tensor)

    return seen


class WindowBlock(nn.Module):
    """x + f(norm(x)), twice. The first f is attention inside windows, and stochastic depth applies only to it."""

    def __init__(self, config: SwinSizes, stage: int, *, shift: int, drop_path: float, out_dropout: float) -> None:
        super().__init__()
        width, heads = config.width(stage), config.num_heads[stage]
        self.window_size, self.shift = config.window_size, shift
        self.attention_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.attention = SelfAttention(
            width, heads, bias=config.qkv_bias, attention_dropout=config.attention_probs_dropout_prob
        )
        self.bias = WindowBias(config.window_size, heads)
        self.out_dropout = nn.Dropout(out_dropout)
        self.drop_path = DropPath(drop_path)
        self.mlp_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.mlp = MLP(width, int(config.mlp_ratio * width), config.hidden_act, dropout=config.hidden_dropout_prob)

    def forward(self, x: Tensor, layer: int, step: Step, cross: Any = None) -> Tensor:
        """(B, h, w, D) -> (B, h, w, D)."""
        windows = Windows.over((x.shape[1], x.shape[2]), self.window_size, self.shift)
        inside = windows.split(self.attention_norm(x))
        inside = self.out_dropout(self.attention(inside, layer, step, self.bias(windows, x.shape[0])))
        x = x + self.drop_path(windows.join(inside))
        return x + self.mlp(self.mlp_norm(x))  # type: ignore[no-any-return]


class PatchMerging(nn.Module):
    """Merges 2 x 2 states to one of twice the width. Zeros pad an odd grid."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, h, w, D) -> (B, ceil(h / 2), ceil(w / 2), 2 D)."""
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        x = torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], dim=-1)
        return self.reduction(self.norm(x))  # type: ignore[no-any-return]
