"""Attention, softmax(q k^T scale + bias) v: the implementations, and the rule that selects one.

Shapes: R rows, H query heads, K key and value heads (H or a divisor of it), T queries, L keys, d head width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vedcore.speed.products import LARGE_WEIGHT

MAX_UNFUSED_SCORES = 2**14
"""The number of scores per head up to which separate products train faster on a CPU than the fused kernel."""


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
    """(R, H, T, d) queries, (R, K, L, d) keys and values -> (R, H, T, d): softmax(q k^T scale + bias) v.

    mask: (R or 1, 1, T or 1, L) bool, True where a query may attend to a key. bias: (R or 1, H, T, L), added to the scores.
    scale: the factor of q k^T. dropout: the rate of dropout on the probabilities.
    """
    if query.shape[1] != keys.shape[1]:
        folded, mask, bias = _folded(query, keys.shape[1], mask, bias)
        return attend(folded, keys, values, mask=mask, bias=bias, scale=scale, dropout=dropout).reshape(query.shape)
    if dropout or trains_faster_unfused(query, keys):
        probabilities = attention_probabilities(query, keys, mask=mask, bias=bias, scale=scale)
        return F.dropout(probabilities, dropout) @ values if dropout else probabilities @ values
    if bias is not None and mask is not None:
        bias = bias.masked_fill(~mask, float("-inf"))
    return F.scaled_dot_product_attention(query, keys, values, attn_mask=mask if bias is None else bias, scale=scale)


def attention_probabilities(
    query: Tensor, keys: Tensor, *, mask: Tensor | None = None, bias: Tensor | None = None, scale: float
) -> Tensor:
    """(R, H, T, d) queries, (R, K, L, d) keys -> (R, H, T, L): softmax(q k^T scale + bias), the weights of the values.

    mask, bias, scale: as in ``attend``. The softmax is computed in float32 or a more precise type.
    """
    if query.shape[1] != keys.shape[1]:
        folded, mask, bias = _folded(query, keys.shape[1], mask, bias)
        probabilities = attention_probabilities(folded, keys, mask=mask, bias=bias, scale=scale)
        return probabilities.reshape(*query.shape[:3], -1)
    scores = (query * scale) @ keys.transpose(-1, -2)
    if bias is not None:
        scores = scores + bias
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32)).to(query.dtype)


def _folded(
    query: Tensor, groups: int, mask: Tensor | None, bias: Tensor | None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Queries (R, K, H / K * T, d), and mask and bias that fit them: query heads that share keys become queries of one head.

    Keys and values are not repeated, as the rows of an image share its keys in cross-attention.
    """
    shared, tokens = query.shape[1] // groups, query.shape[2]
    if mask is not None and mask.shape[2] > 1:
        mask = mask[:, :, None].expand(-1, -1, shared, -1, -1).flatten(2, 3)
    if bias is not None:
        bias = torch.unflatten(bias, 1, (groups, shared)).flatten(2, 3)
    return query.reshape(query.shape[0], groups, shared * tokens, -1), mask, bias


def trains_faster_unfused(query: Tensor, keys: Tensor) -> bool:
    """Whether gradients are enabled, on a CPU, for few enough scores (``MAX_UNFUSED_SCORES``)."""
    return (
        torch.is_grad_enabled() and query.shape[2] * keys.shape[2] <= MAX_UNFUSED_SCORES and query.device.type == "cpu"
    )


def concatenated(weights: list[Tensor], biases: list[Tensor | None]) -> tuple[Tensor, Tensor | None] | None:
    """One weight and one bias for several products of the same input; None if separate products are as fast.

    weights: (O, I) each. biases: (O,) each, or None. One product is faster for small weights, where a call costs more than the
    multiplication. Returns None, too, if only some of the products have a bias.
    """
    if sum(bias is None for bias in biases) not in (0, len(biases)) or weights[0].numel() >= LARGE_WEIGHT:
        return None
    bias = None if biases[0] is None else torch.cat([bias for bias in biases if bias is not None])
    return torch.cat(weights), bias
