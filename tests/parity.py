"""Live comparison with transformers: a random model of theirs, saved, and loaded by us."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from vedcore import VisionEncoderDecoderModel

TOLERANCE = 1e-5


def assert_within(ours: Tensor, theirs: Tensor, tolerance: float = TOLERANCE) -> None:
    """max |a - b| <= tolerance * max(1, max |b|)."""
    assert ours.shape == theirs.shape
    difference = float((ours - theirs).abs().max()) if ours.numel() else 0.0
    assert difference <= tolerance * max(1.0, float(theirs.abs().max()) if theirs.numel() else 1.0)


def assert_same_tokens(ours: Tensor, theirs: Tensor, eos: int, scores: Any = None) -> None:
    """Equal up to each row's end token; ``scores(row, position)`` may excuse a tie (design, decision 7)."""
    for row, (a, b) in enumerate(zip(ours.tolist(), theirs.tolist(), strict=True)):
        mine, other = _until_end(a, eos), _until_end(b, eos)
        if mine != other:
            pairs = enumerate(zip(mine, other, strict=False))
            position = next((i for i, (x, y) in pairs if x != y), min(len(mine), len(other)))
            gap = float("inf") if scores is None else scores(row, position)
            assert gap <= 1e-5, f"row {row} parts at {position}: {mine} and {other} (gap {gap})"


def _until_end(ids: list[int], eos: int) -> list[int]:
    return ids[: ids.index(eos, 1) + 1] if eos in ids[1:] else ids


def perturb(model: torch.nn.Module, seed: int, scale: float = 0.3) -> None:
    """Move every weight away from its first value, so that a part that is left out shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))


def theirs(encoder: Any, decoder: Any, seed: int = 0) -> transformers.VisionEncoderDecoderModel:
    """A random model of theirs from two of their configs, eager, in eval mode, with its ids set."""
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 1, decoder.pad_token_id, 2
    torch.manual_seed(seed)
    model = transformers.VisionEncoderDecoderModel(config).eval()
    perturb(model, seed)
    model.generation_config = transformers.GenerationConfig(
        decoder_start_token_id=1, eos_token_id=2, pad_token_id=decoder.pad_token_id
    )
    return model


def both(folder: Path, encoder: Any, decoder: Any, seed: int = 0) -> tuple[Any, VisionEncoderDecoderModel]:
    """Their random model, and ours loaded from what theirs saved."""
    reference = theirs(encoder, decoder, seed)
    reference.save_pretrained(folder)
    return reference, VisionEncoderDecoderModel.from_pretrained(folder)


def images(model: VisionEncoderDecoderModel, count: int, seed: int = 1) -> Tensor:
    """Random pixels that the model's encoder takes."""
    config = model.config.encoder
    size = config.image_size if isinstance(config.image_size, tuple) else (config.image_size,) * 2
    return torch.randn(count, config.num_channels, *size, generator=torch.Generator().manual_seed(seed))
