"""The initial values of new weights."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def initialize(module: nn.Module, std: float) -> None:
    """Set the weights of ``module``: normal with ``std`` in linear layers, convolutions and embeddings; 1 in norms.

    Biases and the vectors of padding tokens are 0. This is the default of transformers; architectures may differ from it.
    Weights on the meta device are skipped.
    """
    for part in module.modules():
        if any(parameter.is_meta for parameter in part.parameters(recurse=False)):
            continue  # it is loaded from a checkpoint, and drawing without storage takes long
        if isinstance(part, nn.Linear | nn.Conv2d | nn.Embedding):
            nn.init.normal_(part.weight, std=std)
        elif isinstance(part, nn.LayerNorm | nn.RMSNorm) and part.elementwise_affine:
            nn.init.ones_(part.weight)
        if isinstance(part, nn.Linear | nn.Conv2d | nn.LayerNorm) and part.bias is not None:
            nn.init.zeros_(part.bias)
        if isinstance(part, nn.Embedding) and part.padding_idx is not None:
            nn.init.zeros_(part.weight[part.padding_idx])
