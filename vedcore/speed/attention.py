"""Attention: the ways to compute softmax(q k^T scale + bias) v, and the rules that choose among them.

Shapes: R rows, H heads, T queries, L keys, d head width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vedcore.speed.products import LARGE

SHORT = 2**14
"""The scores per head up to which three plain products train faster on a CPU than the fused kernel and its backward pass."""


def attend(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    *,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    scale: float,
    dropout: float = 0.0,
) -> Tensor:
    """(R, H, T, d) queries, (R, H, L, d) keys and values -> (R, H, T, d): softmax(q k^T scale + bias) v.

    mask: bool, broadcast to (R, H, T, L), True where a query may attend. bias: added to the scores, same shape.
    """
    if dropout or trains_as_products(query, keys):
        probabilities = attention_probabilities(query, keys, mask=mask, bias=bias, scale=scale)
        return F.dropout(probabilities, dropout) @ values if dropout else probabilities @ values
    if bias is not None and mask is not None:
        bias = bias.masked_fill(~mask, float("-inf"))
    return F.scaled_dot_product_attention(query, keys, values, attn_mask=mask if bias is None else bias, scale=scale)


def attention_probabilities(
    query: Tensor, keys: Tensor, *, mask: Tensor | None = None, bias: Tensor | None = None, scale: float
) -> Tensor:
    """(R, H, T, d), (R, H, L, d) -> (R, H, T, L): the weights of the values in ``attend``."""
    scores = (query * scale) @ keys.transpose(-1, -2)
    if bias is not None:
        scores = scores + bias
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32)).to(query.dtype)


def trains_as_products(query: Tensor, keys: Tensor) -> bool:
    """Whether gradients are recorded on a CPU for attention that is short."""
    return torch.is_grad_enabled() and query.shape[2] * keys.shape[2] <= SHORT and query.device.type == "cpu"


def joined(weights: list[Tensor], biases: list[Tensor | None]) -> tuple[Tensor, Tensor | None] | None:
    """One weight and bias for several products of the same input; None if separate products are as fast.

    Small matrices gain, because the call outweighs the product. All or none of the products have a bias.
    """
    if sum(bias is None for bias in biases) not in (0, len(biases)) or weights[0].numel() >= LARGE:
        return None
    bias = None if biases[0] is None else torch.cat([bias for bias in biases if bias is not None])
    return torch.cat(weights), bias
