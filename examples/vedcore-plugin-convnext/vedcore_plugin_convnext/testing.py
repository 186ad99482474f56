"""How to test ConvNeXt: small configs and its spec. It needs hypothesis, so only tests import it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from vedcore.testing import BackboneSpec
from vedcore_plugin_convnext import CONVNEXT


@st.composite
def config_fields(draw: st.DrawFn) -> dict[str, Any]:
    """The fields of a small config.json. They include every field that changes the outputs."""
    stages = draw(st.integers(1, 3))
    patch = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    grid = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    spare = draw(st.integers(0, 1))
    return {
        "num_channels": draw(st.sampled_from([1, 3])),
        "patch_size": list(patch),
        "num_stages": stages,
        "hidden_sizes": [draw(st.sampled_from([4, 6, 8])) for _ in range(stages)],
        "depths": [draw(st.integers(1, 2)) for _ in range(stages)],
        "hidden_act": draw(st.sampled_from(["gelu", "gelu_new", "relu", "silu"])),
        "layer_norm_eps": draw(st.sampled_from([1e-12, 1e-5, 1e-2])),
        "layer_scale_init_value": draw(st.sampled_from([1e-6, 0.5, 0.0])),
        "drop_path_rate": draw(st.sampled_from([0.0, 0.1])),
        "image_size": [p * n * 2 ** (stages - 1) + spare for p, n in zip(patch, grid, strict=True)],
    }


SPEC = BackboneSpec(CONVNEXT, config_fields(), reference="ConvNextModel", claims=("resize",))
