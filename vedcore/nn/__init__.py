"""The bricks that backbones are built from. Public: a plugin imports ``vedcore`` and ``vedcore.nn``, nothing else.

No brick has a flag that picks an architecture; what two backbones share is here, what one has alone stays in its plugin.
"""

from vedcore.nn.attention import CrossAttention, SelfAttention, attend, attention_probabilities, split_heads
from vedcore.nn.blocks import (
    Blocks,
    PostNormBlock,
    PostNormCrossAttention,
    PreNormBlock,
    PreNormCrossAttention,
)
from vedcore.nn.init import initialize
from vedcore.nn.mlp import ACTIVATIONS, MLP, activation
from vedcore.nn.part import Part, without_storage
from vedcore.nn.patches import Patches, check_image_size, patch_mask
from vedcore.nn.positions import resize_positions

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "Blocks",
    "CrossAttention",
    "Part",
    "Patches",
    "PostNormBlock",
    "PostNormCrossAttention",
    "PreNormBlock",
    "PreNormCrossAttention",
    "SelfAttention",
    "activation",
    "attend",
    "attention_probabilities",
    "check_image_size",
    "initialize",
    "patch_mask",
    "resize_positions",
    "split_heads",
    "without_storage",
]
