"""The contract: an encoder, a decoder and a cross-attention adapter are classes with these attributes and methods.

They are ``nn.Module``s; ``__call__`` here is their ``forward``. A segmenter is a function.
Shapes: B images, R rows of text, T new tokens, L keys in use, S encoder states, D hidden size, Dc memory size, V vocabulary
size, H heads, d head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from vedcore.contract.regions import PageRegion
from vedcore.contract.types import Cache, EncoderOutput, Step, Trace

__all__ = [
    "AttentionSizes",
    "Cache",
    "CrossAttention",
    "CrossAttentionAdapter",
    "Decoder",
    "DecoderSizes",
    "Encoder",
    "PageSegmenter",
    "Seam",
]


class Encoder(Protocol):
    """Pixels to states."""

    hidden_size: int
    """D, the width of the states."""

    def __call__(
        self,
        pixel_values: Tensor,
        /,
        *,
        pixel_mask: Tensor | None = None,
        interpolate_pos_encoding: bool = False,
        trace: Trace | None = None,
    ) -> EncoderOutput:
        """(B, C, height, width) pixels -> states (B, S, D). pixel_mask: (B, height, width) bool, False for padding."""


class CrossAttention(Protocol):
    """A layer that attends to the image: the decoder's own, or an adapter's. Norm and residual are inside."""

    def remember(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S, Dc) -> keys and values, (B, H, S, d) each; called once per image."""

    def __call__(self, x: Tensor, layer: int, step: Step) -> Tensor:
        """(R, T, D) -> (R, T, D), attending to ``step.memory.layers[layer]``."""


class AttentionSizes(NamedTuple):
    """The self-attention of one layer: query heads, key and value heads, and the width of a head."""

    query_heads: int
    key_value_heads: int
    head_width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Seam:
    """The place in a block where cross-attention goes, between its self-attention and its MLP. An adapter's layers match it.

    norm: "pre" if blocks compute x + f(norm(x)), "post" if they compute norm(x + f(x)). num_heads: the heads of a new layer.
    """

    norm: Literal["pre", "post"]
    norm_eps: float
    num_heads: int
    attention_dropout: float = 0.0
    hidden_dropout: float = 0.0
    initializer_range: float = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderSizes:
    """All sizes of a decoder. Pruning heads and resizing the vocabulary replace the record.

    max_positions: how many tokens a text may have; None: any number. position_ids: how many different position ids there
    are, if that differs (RoBERTa counts from its padding id). token_types: how many token types there are; 0: none.
    memory_size: Dc, the width of the states that cross-attention reads. layers: the self-attention of each block.
    """

    hidden_size: int
    vocab_size: int
    max_positions: int | None
    memory_size: int
    layers: tuple[AttentionSizes, ...]
    seam: Seam
    position_ids: int | None = None
    token_types: int = 0

    @classmethod
    def uniform(
        cls,
        *,
        hidden_size: int,
        vocab_size: int,
        max_positions: int | None,
        num_layers: int,
        seam: Seam,
        key_value_heads: int | None = None,
        head_width: int | None = None,
        memory_size: int | None = None,
        position_ids: int | None = None,
        token_types: int = 0,
    ) -> DecoderSizes:
        """The sizes of a decoder whose layers are alike, each with ``seam.num_heads`` query heads.

        Defaults: as many key and value heads as query heads, heads of width hidden_size / num_heads, and a memory of the
        decoder's own width.
        """
        heads = seam.num_heads
        layer = AttentionSizes(heads, key_value_heads or heads, head_width or hidden_size // heads)
        return cls(
            hidden_size=hidden_size,
            vocab_size=vocab_size,
            max_positions=max_positions,
            memory_size=memory_size or hidden_size,
            layers=(layer,) * num_layers,
            seam=seam,
            position_ids=position_ids,
            token_types=token_types,
        )


class Decoder(Protocol):
    """Token ids and a memory to hidden states. The head is separate: it runs only where logits are needed.

    ``forward`` composes the parts: ``norm(blocks(embed(ids, step), step, cross))``.
    """

    sizes: DecoderSizes
    cross: Sequence[CrossAttention] | None
    """The cross-attention of each block; None for a decoder that was trained without. Composing fills it."""

    @property
    def token_embedding(self) -> nn.Module:
        """(R, T) ids -> (R, T, D)."""

    @property
    def blocks(self) -> nn.Module:
        """Called with x (R, T, D), the step and ``cross`` -> (R, T, D)."""

    @property
    def norm(self) -> nn.Module:
        """The norm after the last block; ``nn.Identity()`` if the architecture has none."""

    @property
    def lm_head(self) -> nn.Module:
        """(..., D) -> (..., V)."""

    def embed(self, input_ids: Tensor | None, step: Step, /, *, inputs_embeds: Tensor | None = None) -> Tensor:
        """(R, T) ids, or (R, T, D) embeddings in their place -> (R, T, D), with positions and token types added."""

    def make_cross(self) -> nn.ModuleList | None:
        """New cross-attention layers of the architecture's own kind, randomly initialised; None if it has no such kind."""

    def __call__(self, input_ids: Tensor | None, step: Step, /, *, inputs_embeds: Tensor | None = None) -> Tensor:
        """(R, T) ids, or (R, T, D) embeddings in their place -> (R, T, D) hidden states."""


@runtime_checkable
class CrossAttentionAdapter(Protocol):
    """How the states of an encoder reach a decoder. It is called when two parts are joined, never in a step."""

    def bridge(self, encoder_size: int, memory_size: int) -> nn.Module:
        """A module EncoderOutput -> EncoderOutput whose states have the width that cross-attention reads."""

    def layer(self, index: int, sizes: DecoderSizes, own: CrossAttention | None) -> Any:
        """The cross-attention for block ``index``: a new layer, or the decoder's ``own`` if it has one."""


class PageSegmenter(Protocol):
    """Finds the lines of text in the image of a page, and their order. Several threads may call it at once."""

    def __call__(self, image: NDArray[np.uint8], /) -> PageRegion:
        """(H, W, 3) RGB pixels, at least 1 x 1 -> the tree of its regions; without text, a page without blocks."""
