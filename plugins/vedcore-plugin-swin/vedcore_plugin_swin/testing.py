"""How to test the Swin and Donut encoders: small configs and their specs. It needs hypothesis, so only tests import it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from vedcore.testing import BackboneSpec
from vedcore_plugin_swin import DONUT_SWIN, SWIN


@st.composite
def config_fields(draw: st.DrawFn) -> dict[str, Any]:
    """The fields of a small Swin's config.json. They include every field that changes the outputs."""
    absolute = draw(st.booleans())
    fields = draw(donut_config_fields())
    if absolute:  # absolute positions need an image of whole patches
        patch = fields["patch_size"]
        fields["image_size"] = [-(-s // p) * p for s, p in zip(fields["image_size"], patch, strict=True)]
    return {**fields, "use_absolute_embeddings": absolute}


@st.composite
def donut_config_fields(draw: st.DrawFn) -> dict[str, Any]:
    """The fields of a small Donut encoder's config.json, without those with which transformers cannot run.

    These are absolute positions, and a grid that is smaller than a window.
    """
    stages = draw(st.integers(1, 3))
    window = draw(st.integers(1, 4))
    grid = [draw(st.integers(window, window + 3)) for _ in range(2)]
    for _ in range(stages - 1):
        grid = [max(2 * side - draw(st.integers(0, 1)), 1) for side in grid]
    patch = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    image = [side * p - draw(st.integers(0, p - 1)) for side, p in zip(grid, patch, strict=True)]
    return {
        "image_size": image,
        "patch_size": list(patch),
        "num_channels": draw(st.sampled_from([1, 3])),
        "embed_dim": draw(st.sampled_from([4, 8])),
        "depths": [draw(st.integers(1, 2)) for _ in range(stages)],
        "num_heads": [draw(st.sampled_from([1, 2, 4])) for _ in range(stages)],
        "window_size": window,
        "mlp_ratio": draw(st.sampled_from([4.0, 2.0, 1.3])),
        "qkv_bias": draw(st.booleans()),
        "drop_path_rate": draw(st.sampled_from([0.0, 0.1])),
        "hidden_act": draw(st.sampled_from(["gelu", "gelu_new", "relu", "silu"])),
        "layer_norm_eps": draw(st.sampled_from([1e-5, 1e-2])),
    }


SWIN_SPEC = BackboneSpec(SWIN, config_fields(), reference="SwinModel")
DONUT_SWIN_SPEC = BackboneSpec(DONUT_SWIN, donut_config_fields(), reference="DonutSwinModel")
