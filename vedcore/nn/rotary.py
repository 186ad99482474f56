"""Rotary position embeddings: queries and keys are rotated by their positions (Su et al., arXiv:2104.09864).

Shapes: R rows, H heads, T tokens, d head width.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from vedcore.config import Config, field, from_dict, settings, strict
from vedcore.contract.types import Step
from vedcore.errors import ConfigError


@strict
class RotarySettings:
    """How the angles of a head are made, under the names of ``rope_parameters`` in config.json.

    rope_theta: the base of the wavelengths. rope_type: "default", "linear" (all wavelengths times ``factor``: Chen et al.,
    arXiv:2306.15595), or "llama3" (only the long ones: transformers' ``modeling_rope_utils.py``).
    low_freq_factor, high_freq_factor: a wavelength above original_max_position_embeddings / low_freq_factor is multiplied by
    ``factor``, one below original_max_position_embeddings / high_freq_factor stays, one between is blended.
    """

    rope_theta: float = field.number(10000.0, above=0)
    rope_type: str = field.text("default", one_of=("default", "linear", "llama3"))
    factor: float = field.number(1.0, at_least=1)
    low_freq_factor: float = field.number(1.0, above=0)
    high_freq_factor: float = field.number(4.0, above=0)
    original_max_position_embeddings: int = field.integer(8192)

    def __attrs_post_init__(self) -> None:
        if self.high_freq_factor <= self.low_freq_factor:
            raise ConfigError(
                f"high_freq_factor ({self.high_freq_factor}) must be above low_freq_factor ({self.low_freq_factor})",
                field="high_freq_factor",
                expected=f"above {self.low_freq_factor}",
                found=self.high_freq_factor,
            )

    def frequencies(self, head_width: int) -> tuple[float, ...]:
        """-> d / 2 angles of position 1, in radians, computed in float32 as the reference does."""
        exponents = torch.arange(0, head_width, 2, device="cpu", dtype=torch.float32) / head_width
        angles = 1.0 / self.rope_theta**exponents
        if self.rope_type == "linear":
            angles = angles / self.factor
        if self.rope_type == "llama3":
            lengths = 2 * math.pi / angles
            turns = self.original_max_position_embeddings / lengths
            blend = (turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)
            blend = blend.clamp(0, 1)
            angles = (1 - blend) * angles / self.factor + blend * angles
        return tuple(angles.tolist())


def _settings_in(found: dict[str, Any]) -> RotarySettings:
    if "type" in found:  # the name of rope_type before transformers 4.43
        found = {"rope_type": found["type"], **{name: value for name, value in found.items() if name != "type"}}
    return from_dict(RotarySettings, found, "rotary positions")


@settings
class RotaryFields(Config):
    """The config fields of rotary positions, by their names in config.json.

    Files of transformers 5 have ``rope_parameters``; older ones ``rope_theta`` and ``rope_scaling``.
    """

    rope_parameters: dict[str, Any] | None = field.mapping(None, check=_settings_in)
    rope_theta: float | None = field.number(None, above=0)
    rope_scaling: dict[str, Any] | None = field.mapping(None, check=_settings_in)

    @property
    def rotary(self) -> RotarySettings:
        """The settings in these fields."""
        found = self.rope_parameters or self.rope_scaling or {}
        return _settings_in(found if self.rope_theta is None else {"rope_theta": self.rope_theta, **found})


class Rotary(nn.Module):
    """Rotates queries and keys by the positions of a step. It has no weights, and all layers of a decoder can share one."""

    def __init__(self, head_width: int, settings: RotarySettings) -> None:
        """Raises ConfigError unless ``head_width`` is even."""
        super().__init__()
        if head_width % 2:
            raise ConfigError(
                f"rotary positions need an even head width, got {head_width}",
                field="head_dim",
                expected="an even number",
                found=head_width,
            )
        # Numbers and not a buffer: a buffer would be converted with the weights, and angles in bfloat16 are wrong from
        # position 256 on.
        self.frequencies = settings.frequencies(head_width)
        self._name = f"rotary {head_width} {settings}"

    def forward(self, query: Tensor, keys: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        """(R, H, T, d) queries and keys, whose numbers of heads may differ -> the same, rotated."""
        cos, sin = step.once(self._name, lambda: self._angles(step, query))
        return query * cos + _turned(query) * sin, keys * cos + _turned(keys) * sin

    def _angles(self, step: Step, like: Tensor) -> tuple[Tensor, Tensor]:
        """-> the cosines and sines of the angles, (R or 1, 1, T, d) each, in the type of ``like``."""
        positions = step.slots if step.positions is None else step.positions
        if positions is None:  # an encoder: tokens in order
            positions = torch.arange(like.shape[2], device=like.device)[None]
        frequencies = torch.tensor(self.frequencies, device=like.device, dtype=torch.float32)
        angles = (positions[:, None, :, None].float() * frequencies).repeat(1, 1, 1, 2)
        return angles.cos().to(like.dtype), angles.sin().to(like.dtype)


def _turned(x: Tensor) -> Tensor:
    """(..., d) -> (..., d): each pair (i, i + d / 2) turned by a right angle."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([-second, first], dim=-1)
