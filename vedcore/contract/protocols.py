"""The contract: an encoder, a decoder and a cross-attention adapter are whatever has these shapes.

They are ``nn.Module``s; what stands here as ``__call__`` is their ``forward``.
Shapes: B images, R rows, T new tokens, L keys in use, S encoder states, D hidden size, Dc memory size, V vocabulary size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from torch import Tensor, nn

from vedcore.contract.types import Cache, EncoderOutput, Step, Trace

__all__ = ["Cache", "CrossAttention", "CrossAttentionAdapter", "Decoder", "Encoder", "Seam"]


class Encoder(Protocol):
    """Pixels to states."""

    hidden_size: int

    def __call__(
        self,
        pixel_values: Tensor,
        /,
        *,
        pixel_mask: Tensor | None = None,
        interpolate_pos_encoding: bool = False,
        trace: Trace | None = None,
    ) -> EncoderOutput:
        """(B, C, height, width), and the pixels (B, height, width) that count -> states (B, S, D)."""


class CrossAttention(Protocol):
    """One layer that looks at the image: the architecture's own, or an adapter's. Norm and residual are inside."""

    def remember(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S, Dc) -> keys and values, (B, H, S, d) each; called once an image."""

    def __call__(self, x: Tensor, layer: int, step: Step) -> Tensor:
        """(R, T, D) -> (R, T, D), looking at ``step.memory.layers[layer]``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seam:
    """What a cross-attention layer that is put between a block's self-attention and its MLP must fit.

    norm: "pre" where blocks compute x + f(norm(x)), "post" where they compute norm(x + f(x)).
    """

    hidden_size: int
    memory_size: int
    num_heads: int
    num_layers: int
    norm: Literal["pre", "post"]
    norm_eps: float
    attention_dropout: float = 0.0
    hidden_dropout: float = 0.0
    initializer_range: float = 0.02


class Decoder(Protocol):
    """Token ids and a memory to hidden states; the head is apart, for it runs only where logits are wanted."""

    hidden_size: int
    memory_size: int
    """Dc: the width of the states that cross-attention reads."""
    vocab_size: int
    max_positions: int | None
    """How many tokens it has positions for; None: any number."""
    cache_shapes: tuple[tuple[int, int], ...]
    """A layer each: the heads and the head width of self-attention."""
    cross: Sequence[CrossAttention] | None
    """A layer each; None for a decoder born without any. Composing fills it, also on a model already built."""
    seam: Seam

    @property
    def token_embedding(self) -> nn.Module:
        """(R, T) ids -> (R, T, D)."""

    @property
    def lm_head(self) -> nn.Module:
        """(..., D) -> (..., V)."""

    def __call__(self, input_ids: Tensor | None, step: Step, /, *, inputs_embeds: Tensor | None = None) -> Tensor:
        """(R, T) ids, or (R, T, D) embeddings in their place -> (R, T, D) hidden states."""


@runtime_checkable
class CrossAttentionAdapter(Protocol):
    """How an encoder's states reach a decoder. Asked when parts are joined, never in a step."""

    def bridge(self, encoder_size: int, memory_size: int) -> nn.Module:
        """A module EncoderOutput -> EncoderOutput whose states have the width that cross-attention reads."""

    def layer(self, index: int, seam: Seam, own: CrossAttention | None) -> Any:
        """The CrossAttention for block ``index``: a new one, or the decoder's ``own`` where it has one."""
