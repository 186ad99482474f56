"""What a pass is given, checked before anything is computed: tensors on the model's device, ids in their range.

Shapes: R rows, T tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vedcore.errors import InputError


def check_tensors(device: torch.device, **given: Any) -> None:
    """InputError unless all that is ``given`` (None is not) are dense tensors on ``device``, the model's."""
    for name, tensor in given.items():
        if tensor is None:
            continue
        if not isinstance(tensor, Tensor):
            raise InputError(f"{name} must be a tensor, got {type(tensor).__name__}")
        if tensor.layout != torch.strided:
            raise InputError(f"{name} is a tensor of {tensor.layout}; pass a dense one: .to_dense()")
        if tensor.device != device:
            raise InputError(
                f"{name}: on {tensor.device}, but the model is on {device}; bring both to one device with .to(...)"
            )


def check_ids(name: str, ids: Tensor, shape: tuple[int, ...], bound: int | None, of: str) -> None:
    """InputError unless ``ids`` are whole numbers of ``shape`` (R, T) or (1, T), from 0 and below ``bound``."""
    if ids.dtype not in (torch.long, torch.int) or tuple(ids.shape) not in (shape, (1, *shape[1:])):
        raise InputError(
            f"{name} must be whole numbers (torch.long) of shape {shape}, got {ids.dtype} of {tuple(ids.shape)}"
        )
    if torch.compiler.is_compiling():  # to look at values would cut the graph
        return
    low, high = torch.stack(torch.aminmax(ids)).tolist()  # one wait for the device
    if low < 0 or (bound is not None and high >= bound):
        allowed = "0 and more" if bound is None else f"0 to {bound - 1}"
        raise InputError(f"{name} run from {low} to {high}; allowed are {allowed}, {of}")
