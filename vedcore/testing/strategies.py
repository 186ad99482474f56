"""hypothesis strategies for config fields that several architectures share, for a package's ``testing`` module."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st


@st.composite
def transformer_fields(draw: st.DrawFn) -> dict[str, Any]:
    """Fields of a small transformer, by the names that BERT and ViT gave them."""
    heads = draw(st.sampled_from([1, 2, 4]))
    return {
        "hidden_size": heads * draw(st.sampled_from([4, 6, 8])),
        "num_hidden_layers": draw(st.integers(1, 3)),
        "num_attention_heads": heads,
        "intermediate_size": draw(st.integers(5, 40)),
        "hidden_act": draw(st.sampled_from(["gelu", "gelu_new", "relu", "silu", "quick_gelu"])),
        "layer_norm_eps": draw(st.sampled_from([1e-12, 1e-5, 1e-2])),
    }


@st.composite
def image_fields(draw: st.DrawFn) -> dict[str, Any]:
    """Fields of small images: patches that need not be square, on a grid that need not be, with a row or column to spare."""
    patch = draw(st.tuples(st.integers(2, 5), st.integers(2, 5)))
    grid = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    spare = draw(st.tuples(st.integers(0, 1), st.integers(0, 1)))
    return {
        "image_size": [p * g + s for p, g, s in zip(patch, grid, spare, strict=True)],
        "patch_size": list(patch),
        "num_channels": draw(st.sampled_from([1, 3])),
    }
