"""How the states of an encoder reach a decoder: a bridge between their widths, and layers for a decoder that has none.

An adapter is called when parts are joined, and never in a step. The layers that it makes stand where the decoder's own
cross-attention would: between the self-attention and the MLP of each block.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vedcore.contract.hookspecs import PROTOCOL, Adapter, hookimpl
from vedcore.contract.protocols import CrossAttention as CrossAttentionProtocol
from vedcore.contract.protocols import CrossAttentionAdapter, Decoder, DecoderSizes
from vedcore.contract.types import EncoderOutput, Step
from vedcore.nn import CrossAttention, Linear, PostNormCrossAttention, PreNormCrossAttention, initialize


class LinearAdapter:
    """The way of transformers: one linear layer if the widths differ, and the decoder's own cross-attention.

    A decoder without cross-attention gets layers like its own blocks: the norm first or last, as its seam says.
    """

    def bridge(self, encoder_size: int, memory_size: int) -> nn.Module:
        """A module EncoderOutput -> EncoderOutput; its linear layer is saved as ``enc_to_dec_proj``."""
        return nn.Identity() if encoder_size == memory_size else Projection(encoder_size, memory_size)

    def layer(self, index: int, sizes: DecoderSizes, own: CrossAttentionProtocol | None) -> Any:
        """The decoder's own layer, or a new one that fits its seam."""
        if own is not None:
            return own
        seam = sizes.seam
        norm, attention = nn.LayerNorm(sizes.hidden_size, eps=seam.norm_eps), _attention(sizes)
        if seam.norm == "pre":
            return PreNormCrossAttention(norm, attention, dropout=seam.hidden_dropout)
        return PostNormCrossAttention(attention, norm, dropout=seam.hidden_dropout)


class GatedAdapter(LinearAdapter):
    """New layers with a gate that is closed at first, so that the decoder writes as it did before (Flamingo)."""

    def layer(self, index: int, sizes: DecoderSizes, own: CrossAttentionProtocol | None) -> Any:
        """A gated layer in place of the decoder's own."""
        return GatedCrossAttention(_attention(sizes), norm_eps=sizes.seam.norm_eps)


class GatedCrossAttention(nn.Module):
    """x + tanh(gate) attention(norm(x)), the gate zero at first (Alayrac et al., arXiv:2204.14198, section 2.2)."""

    def __init__(self, attention: CrossAttention, *, norm_eps: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(attention.out.out_features, eps=norm_eps)
        self.attention = attention
        self.gate = nn.Parameter(torch.zeros(1))

    def remember(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S, Dc) -> keys and values (B, H, S, d)."""
        return self.attention.remember(states)

    def forward(self, x: Tensor, layer: int, step: Step) -> Tensor:
        """(R, T, D) -> (R, T, D)."""
        return x + self.gate.tanh() * self.attention(self.norm(x), layer, step)  # type: ignore[no-any-return]


class Projection(nn.Module):
    """One linear layer over each state."""

    def __init__(self, encoder_size: int, memory_size: int) -> None:
        super().__init__()
        self.projection = Linear(encoder_size, memory_size)

    def forward(self, output: EncoderOutput) -> EncoderOutput:
        """States (B, S, D) -> (B, S, Dc); the mask and the grid stay."""
        states: Tensor = self.projection(output.states)
        return EncoderOutput(states, output.mask, output.grid, output.extra)


class Inserted(nn.ModuleList):
    """Cross-attention layers that an adapter made. They are not the decoder's, and are saved under a name of their own."""


def join(adapter: CrossAttentionAdapter, decoder: Decoder) -> None:
    """Give ``decoder`` the cross-attention that ``adapter`` has for it. Its own stays if the adapter returns it."""
    sizes, own = decoder.sizes, decoder.cross
    layers = [adapter.layer(i, sizes, None if own is None else own[i]) for i in range(len(sizes.layers))]
    if own is None or any(new is not old for new, old in zip(layers, own, strict=True)):
        decoder.cross = like_weights(Inserted(layers), decoder)  # type: ignore[assignment]


def give_own_cross(decoder: Decoder) -> None:
    """Give a decoder without cross-attention new layers of its own kind, if its architecture has one."""
    if decoder.cross is None and (cross := decoder.make_cross()) is not None:
        decoder.cross = like_weights(cross, decoder)  # type: ignore[assignment]


def like_weights(module: nn.Module, decoder: Any) -> nn.Module:
    """``module`` in the type, on the device and in the mode of ``decoder``."""
    weight: Tensor = next(decoder.token_embedding.parameters())
    return module.to(dtype=weight.dtype, device=weight.device).train(decoder.training)


def _attention(sizes: DecoderSizes) -> CrossAttention:
    seam = sizes.seam
    attention = CrossAttention(
        sizes.hidden_size, seam.num_heads, memory_size=sizes.memory_size, attention_dropout=seam.attention_dropout
    )
    initialize(attention, seam.initializer_range)
    return attention


@hookimpl
def vedcore_plugin() -> list[Adapter]:
    """The adapters that vedcore ships. They are found like any other."""
    return [
        Adapter(name="linear", adapter=LinearAdapter(), protocol=PROTOCOL),
        Adapter(name="gated", adapter=GatedAdapter(), protocol=PROTOCOL),
    ]
