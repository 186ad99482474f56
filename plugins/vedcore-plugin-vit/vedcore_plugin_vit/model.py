"""ViT: patches, a class token, learned positions, blocks with the norm first.

Shapes: B images, C channels, S = 1 + patches, D hidden size.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from vedcore import EncoderOutput, KeyMap, Part, Rule, Step, Trace
from vedcore.config import pair
from vedcore.nn import (
    VIT_BLOCK_ALIASES,
    VIT_BLOCKS,
    Blocks,
    ClassPooler,
    PatchEmbeddings,
    initialize,
    patch_mask,
    vit_block,
    vit_pooler,
)
from vedcore_plugin_vit.config import ViTConfig

KEYMAP = KeyMap(
    rules=(  # (on disk, here)
        Rule("embeddings.cls_token", "cls_token"),
        Rule("embeddings.position_embeddings", "embeddings.positions"),
        Rule("embeddings.patch_embeddings", "embeddings.patches"),
        *VIT_BLOCKS,
        Rule("layernorm", "norm"),
    ),
    aliases=VIT_BLOCK_ALIASES,
    dropped=("classifier", "embeddings.mask_token"),
    optional=("pooler",),
    prefixes=("vit.",),
)


class ViTModel(Part[ViTConfig]):
    """A ViT encoder. It turns an image into one state for the class token and one for each patch."""

    config_class: ClassVar = ViTConfig
    keymap: ClassVar = KEYMAP

    def __init__(self, config: ViTConfig) -> None:
        super().__init__(config)
        self.hidden_size = config.hidden_size
        self.cls_token = nn.Parameter(torch.empty(1, 1, config.hidden_size))
        self.embeddings = PatchEmbeddings(
            config.num_channels,
            config.hidden_size,
            pair(config.image_size),
            pair(config.patch_size),
            leading=1,
            dropout=config.hidden_dropout_prob,
        )
        self.blocks = Blocks(vit_block(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.pooler: ClassPooler | None = vit_pooler(config)
        initialize(self, config.initializer_range)
        for table in (self.cls_token, self.embeddings.positions):
            nn.init.trunc_normal_(table, std=config.initializer_range)

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

        Raises InputError for an image size other than the trained one, unless ``interpolate_pos_encoding`` is set.
        """
        x, grid = self.embeddings(pixel_values, self.cls_token, interpolate_pos_encoding=interpolate_pos_encoding)
        mask = patch_mask(pixel_mask, pixel_values, pair(self.config.patch_size), extra=1)
        step = Step(mask=None if mask is None else mask[:, None, None, :], trace=trace)
        x = self.blocks(x, step)
        return EncoderOutput(self.norm(x), mask, grid, extra=1)
