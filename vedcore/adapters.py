"""How the states of an encoder reach a decoder: the bridge between their widths.

An adapter is asked when parts are joined, and never in a step. A decoder that has cross-attention keeps its own.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from vedcore.hookspecs import Adapter, hookimpl
from vedcore.protocols import Seam
from vedcore.types import EncoderOutput


class LinearAdapter:
    """The bridge of transformers: one linear layer where the widths differ (``enc_to_dec_proj``), else nothing."""

    def bridge(self, encoder_size: int, memory_size: int) -> nn.Module:
        """A module EncoderOutput -> EncoderOutput."""
        return Straight() if encoder_size == memory_size else Projection(encoder_size, memory_size)

    def layer(self, index: int, seam: Seam) -> Any | None:
        """None: the decoder's own cross-attention is used."""
        return None


class Straight(nn.Module):
    """Equal widths need no bridge."""

    def forward(self, output: EncoderOutput) -> EncoderOutput:
        """The output as it is."""
        return output


class Projection(nn.Module):
    """One linear layer over each state."""

    def __init__(self, encoder_size: int, memory_size: int) -> None:
        super().__init__()
        self.projection = nn.Linear(encoder_size, memory_size)

    def forward(self, output: EncoderOutput) -> EncoderOutput:
        """States (B, S, D) -> (B, S, Dc); the mask and the grid stay."""
        states: Tensor = self.projection(output.states)
        return EncoderOutput(states, output.mask, output.grid, output.extra)


@hookimpl
def vedcore_plugin() -> list[Adapter]:
    """The adapters that vedcore ships; they are found like any other."""
    return [Adapter(name="linear", adapter=LinearAdapter(), protocol=1)]
