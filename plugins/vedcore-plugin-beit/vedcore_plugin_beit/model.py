"""BEiT: patches and a class token, positions as a bias of the attention scores, scaled blocks with the norm first.

Shapes: B images, C channels, S = 1 + patches, D hidden size, H heads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vedcore import EncoderOutput, InputError, KeyMap, Part, Rule, Step, Trace
from vedcore.config import pair
from vedcore.nn import (
    MLP,
    VIT_BLOCK_ALIASES,
    VIT_BLOCKS,
    Blocks,
    DropPath,
    LayerScale,
    Patches,
    SelfAttention,
    drop,
    initialize,
    patch_grid,
    patch_mask,
    resize_positions,
)
from vedcore_plugin_beit.bias import RelativeBias, offsets
from vedcore_plugin_beit.config import BeitConfig

_LAYER = "encoder.layer.{i}"
_BIAS = "relative_position_bias"

KEYMAP = KeyMap(
    rules=(  # (on disk, here)
        Rule("embeddings.position_embeddings", "embeddings.positions"),
        Rule("embeddings.patch_embeddings", "embeddings.patches"),
        Rule(f"encoder.{_BIAS}.{_BIAS}_table", "shared_bias.table"),
        Rule(f"{_LAYER}.attention.attention.{_BIAS}.{_BIAS}_table", "blocks.{i}.bias.table"),
        Rule(f"{_LAYER}.lambda_1", "blocks.{i}.attention_scale.factor"),
        Rule(f"{_LAYER}.lambda_2", "blocks.{i}.mlp_scale.factor"),
        *VIT_BLOCKS,
        Rule("layernorm", "norm"),
        Rule("pooler.layernorm", "pooler.norm"),
    ),
    aliases=(
        (f"layers.{{i}}.{_BIAS}", f"{_LAYER}.attention.attention.{_BIAS}"),
        *VIT_BLOCK_ALIASES,
        ("shared_position_bias", f"encoder.{_BIAS}"),
    ),
    dropped=(  # heads for visual tokens, classes and segments; buffers that are computed from the sizes
        "lm_head",
        "classifier",
        "decode_head",
        "auxiliary_head",
        "fpn",
        "fpn{i}",
        f"encoder.{_BIAS}.{_BIAS}_index",
        f"{_LAYER}.attention.attention.{_BIAS}.{_BIAS}_index",
    ),
    optional=("pooler",),
    prefixes=("beit.",),
)


class BeitModel(Part[BeitConfig]):
    """A BEiT encoder. It turns an image of any size into one state for the class token and one for each patch."""

    config_class: ClassVar = BeitConfig
    keymap: ClassVar = KEYMAP

    def __init__(self, config: BeitConfig) -> None:
        super().__init__(config)
        self.hidden_size = config.hidden_size
        self.embeddings = Embeddings(config)
        self.shared_bias = relative_bias(config) if config.use_shared_relative_position_bias else None
        self.blocks = Blocks(Block(config, i) for i in range(config.num_hidden_layers))
        self.norm: nn.Module = nn.Identity()
        self.pooler: MeanPooler | None = None
        if config.use_mean_pooling:
            self.pooler = MeanPooler(config.hidden_size, config.layer_norm_eps)
        else:
            self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        initialize(self, config.initializer_range)

    def sections(self) -> list[Any]:
        """The sections of a checkpoint of this model alone.

        The ``layernorm`` in files of ``BeitForMaskedImageModeling`` (``*-pt22k``) belongs to the head, so it is dropped.
        """
        foreign = ("layernorm",) if self.config.use_mean_pooling else ()
        keymap = replace(KEYMAP, dropped=KEYMAP.dropped + foreign)
        return [replace(section, keymap=keymap) for section in super().sections()]

    def forward(
        self,
        pixel_values: Tensor,
        /,
        *,
        pixel_mask: Tensor | None = None,
        interpolate_pos_encoding: bool = False,
        trace: Trace | None = None,
    ) -> EncoderOutput:
        """(B, C, height, width) -> states (B, S, D).

        Positions are resized for images of another size, whatever ``interpolate_pos_encoding`` is.
        """
        x, grid = self.embeddings(pixel_values)
        mask = patch_mask(pixel_mask, pixel_values, pair(self.config.patch_size), extra=1)
        index = offsets(grid, x.device)
        shared = None if self.shared_bias is None else self.shared_bias(grid, index)
        attention_mask = None if mask is None else mask[:, None, None, :]
        x = self.blocks(x, GridStep(mask=attention_mask, trace=trace, grid=grid, index=index, shared_bias=shared))
        return EncoderOutput(self.norm(x), mask, grid, extra=1)


class Embeddings(nn.Module):
    """The class token and then the patches, with learned positions if the config has them."""

    def __init__(self, config: BeitConfig) -> None:
        super().__init__()
        self.grid = patch_grid(pair(config.image_size), pair(config.patch_size))
        self.patches = Patches(config.num_channels, config.hidden_size, pair(config.patch_size))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        # Nothing is masked here. The token is loaded so that a saved checkpoint still has it.
        self.mask_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size)) if config.use_mask_token else None
        count = 1 + self.grid[0] * self.grid[1]
        absolute = config.use_absolute_position_embeddings
        self.positions = nn.Parameter(torch.zeros(1, count, config.hidden_size)) if absolute else None
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """(B, C, height, width) -> (B, S, D) and the grid (h, w). Raises InputError."""
        sides, patch = tuple(pixel_values.shape[-2:]), self.patches.patch_size
        if any(side < least for side, least in zip(sides, patch, strict=False)):
            raise InputError(
                f"expected images of at least one patch, {patch} pixels (height, width), got {sides}",
                tensor="pixel_values",
                expected=patch,
                found=sides,
            )
        x, grid = self.patches(pixel_values)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        if self.positions is not None:
            x = x + resized(self.positions, self.grid, grid, square=sides[0] == sides[1])
        return self.dropout(x), grid


def resized(positions: Tensor, trained: tuple[int, int], grid: tuple[int, int], *, square: bool) -> Tensor:
    """(1, 1 + N, D) for the ``trained`` grid -> (1, 1 + h w, D) for ``grid``. square: whether the image is.

    As in transformers, if N is a square number the table counts as that of a square grid, even if it is not. If N is not a
    square number, transformers fails. Here the trained grid keeps its positions, and another grid raises InputError.
    """
    count = positions.shape[1] - 1
    if square and grid[0] * grid[1] == count:
        return positions
    if math.isqrt(count) ** 2 == count:
        return resize_positions(positions, grid, extra=1)
    if grid != trained:
        wanted, found = (f"{h} x {w}" for h, w in (trained, grid))
        raise InputError(
            f"expected images of {wanted} patches (down x across), got {found}; resize them",
            tensor="pixel_values",
            expected=trained,
            found=grid,
        )
    return positions


@dataclass(slots=True, kw_only=True)
class GridStep(Step):
    """A step over a grid of patches, with the input of each block's own bias and the bias that all blocks share."""

    grid: tuple[int, int]
    index: Tensor
    shared_bias: Tensor | None


class Block(nn.Module):
    """x + scale f(norm(x)), twice. The first f is attention with a position bias, the second an MLP."""

    def __init__(self, config: BeitConfig, layer: int) -> None:
        super().__init__()
        width, scale = config.hidden_size, config.layer_scale_init_value
        self.bias = relative_bias(config) if config.use_relative_position_bias else None
        self.attention_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.attention = SelfAttention(
            width, config.num_attention_heads, key_bias=False, attention_dropout=config.attention_probs_dropout_prob
        )
        self.attention_scale = LayerScale(width, scale) if scale > 0 else nn.Identity()
        self.mlp_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.mlp = MLP(width, config.intermediate_size, config.hidden_act, dropout=config.hidden_dropout_prob)
        self.mlp_scale = LayerScale(width, scale) if scale > 0 else nn.Identity()
        self.dropout = config.hidden_dropout_prob
        self.drop_path = DropPath(config.drop_path(layer))

    def forward(self, x: Tensor, layer: int, step: GridStep, cross: Any = None) -> Tensor:
        """(B, S, D) -> (B, S, D)."""
        bias = step.shared_bias
        if self.bias is not None:
            own = self.bias(step.grid, step.index)
            bias = own if bias is None else own + bias
        seen = drop(self.attention(self.attention_norm(x), layer, step, bias), self.dropout, self.training)
        x = x + self.drop_path(self.attention_scale(seen))
        return x + self.drop_path(self.mlp_scale(self.mlp(self.mlp_norm(x))))  # type: ignore[no-any-return]


class MeanPooler(nn.Module):
    """The mean of all patches, then a norm. Decoders do not use it. It is loaded so that a saved checkpoint still has it."""

    def __init__(self, width: int, norm_eps: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=norm_eps)

    def forward(self, states: Tensor) -> Tensor:
        """(B, S, D) -> (B, D)."""
        return self.norm(states[:, 1:].mean(dim=1))  # type: ignore[no-any-return]


def relative_bias(config: BeitConfig) -> RelativeBias:
    """The bias for the grid of an image of ``image_size``."""
    return RelativeBias(patch_grid(pair(config.image_size), pair(config.patch_size)), config.num_attention_heads)
