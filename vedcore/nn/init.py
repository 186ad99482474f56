"""The values that new weights start from."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def initialize(module: nn.Module, std: float) -> None:
    """Linears, convolutions and embeddings: normal with ``std``; biases zero; norms one and zero; padding rows zero.

    What transformers' models start from, where an architecture has no rule of its own.
    """
    for part in module.modules():
        if any(parameter.is_meta for parameter in part.parameters(recurse=False)):
            continue  # it waits for a checkpoint, and torch takes long to draw nothing
        if isinstance(part, nn.Linear | nn.Conv2d | nn.Embedding):
            nn.init.normal_(part.weight, std=std)
        elif isinstance(part, nn.LayerNorm) and part.elementwise_affine:
            nn.init.ones_(part.weight)
        if isinstance(part, nn.Linear | nn.Conv2d | nn.LayerNorm) and part.bias is not None:
            nn.init.zeros_(part.bias)
        if isinstance(part, nn.Embedding) and part.padding_idx is not None:
            nn.init.zeros_(part.weight[part.padding_idx])
