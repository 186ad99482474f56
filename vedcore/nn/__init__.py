"""The modules and functions that backbones are built from. They are public, and plugins import them from here.

Each has at least two users and no flag that selects an architecture. Code that only one backbone needs belongs to its plugin.
"""

from typing import TYPE_CHECKING, Any

from torch.nn import RMSNorm

from vedcore._moved import moved_name
from vedcore.nn.attention import CrossAttention, SelfAttention, split_heads
from vedcore.nn.bert import (
    BertFields,
    BertHead,
    bert_block,
    bert_cross,
    bert_sizes,
    bert_text_embeddings,
)
from vedcore.nn.blocks import (
    Blocks,
    PostNormBlock,
    PostNormCrossAttention,
    PreNormBlock,
    PreNormCrossAttention,
)
from vedcore.nn.dropout import DropPath, LayerDrop, drop, drop_layers
from vedcore.nn.embeddings import ScaledEmbedding, TextEmbeddings
from vedcore.nn.heads import ClassPooler, TransformHead
from vedcore.nn.init import initialize
from vedcore.nn.key_tables import (
    FAIRSEQ_BLOCKS,
    TENSORFLOW_NORMS,
    VIT_BLOCK_ALIASES,
    VIT_BLOCKS,
    bert_blocks,
    bert_embeddings,
)
from vedcore.nn.linear import Linear
from vedcore.nn.mlp import ACTIVATIONS, MLP, GatedMLP, activation
from vedcore.nn.patches import PatchEmbeddings, Patches, RegisterTokens, patch_grid, patch_mask
from vedcore.nn.positions import OffsetPositions, positions_from_ids, resize_positions
from vedcore.nn.rotary import Rotary, RotaryFields, RotarySettings
from vedcore.nn.scaling import LayerScale
from vedcore.nn.vit import ViTFields, vit_block, vit_pooler
from vedcore.speed.attention import attend, attention_probabilities

__all__ = [
    "ACTIVATIONS",
    "FAIRSEQ_BLOCKS",
    "MLP",
    "TENSORFLOW_NORMS",
    "VIT_BLOCKS",
    "VIT_BLOCK_ALIASES",
    "BertFields",
    "BertHead",
    "Blocks",
    "ClassPooler",
    "CrossAttention",
    "DropPath",
    "GatedMLP",
    "LayerDrop",
    "LayerScale",
    "Linear",
    "OffsetPositions",
    "PatchEmbeddings",
    "Patches",
    "PostNormBlock",
    "PostNormCrossAttention",
    "PreNormBlock",
    "PreNormCrossAttention",
    "RMSNorm",
    "RegisterTokens",
    "Rotary",
    "RotaryFields",
    "RotarySettings",
    "ScaledEmbedding",
    "SelfAttention",
    "TextEmbeddings",
    "TransformHead",
    "ViTFields",
    "activation",
    "attend",
    "attention_probabilities",
    "bert_block",
    "bert_blocks",
    "bert_cross",
    "bert_embeddings",
    "bert_sizes",
    "bert_text_embeddings",
    "drop",
    "drop_layers",
    "initialize",
    "patch_grid",
    "patch_mask",
    "positions_from_ids",
    "resize_positions",
    "split_heads",
    "vit_block",
    "vit_pooler",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Find ``Part``, which was in this package in earlier releases."""
        return moved_name(__name__, name)
