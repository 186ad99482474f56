"""Whether tensors hold only finite values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vedcore.errors import CheckpointError
from vedcore.storage.tensors import listed, stored_tensors


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """The names of the tensors that hold a NaN or an infinity. All must be on one device, which is waited for once."""
    flags = torch.stack([tensor.detach().isfinite().all() for tensor in tensors.values()]).tolist()
    return [name for name, is_finite in zip(tensors, flags, strict=True) if not is_finite]


def require_finite_weights(folder: Path) -> None:
    """Raise CheckpointError if a weight of the checkpoint in ``folder`` is not finite."""
    with stored_tensors(folder) as stored:
        bad = [name for name, tensor in stored.items() if not tensor.read().isfinite().all()]
    if bad:
        raise CheckpointError(f"{folder}: not finite are {listed(bad)}", file=folder, tensor=bad[0])
