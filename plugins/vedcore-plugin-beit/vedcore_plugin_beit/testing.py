"""How to test the BEiT encoder: small configs and its spec. It needs hypothesis, so only tests import it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from vedcore.testing import BackboneSpec, transformer_fields
from vedcore_plugin_beit import BEIT


@st.composite
def config_fields(draw: st.DrawFn) -> dict[str, Any]:
    """The fields of a small config.json. They include every field that changes the outputs.

    With absolute positions the number of patches is a square number, because transformers cannot resize others.
    """
    patch = draw(st.integers(2, 5))
    absolute = draw(st.booleans())
    squares = st.sampled_from([(1, 1), (2, 2), (3, 3), (1, 4), (4, 1)])
    grid = draw(squares if absolute else st.tuples(st.integers(1, 4), st.integers(1, 4)))
    spare = draw(st.tuples(st.integers(0, 1), st.integers(0, 1)))
    return {
        **draw(transformer_fields()),
        "image_size": [patch * g + s for g, s in zip(grid, spare, strict=True)],
        "patch_size": patch,
        "num_channels": draw(st.sampled_from([1, 3])),
        "use_mask_token": draw(st.booleans()),
        "use_absolute_position_embeddings": absolute,
        "use_relative_position_bias": draw(st.booleans()),
        "use_shared_relative_position_bias": draw(st.booleans()),
        "layer_scale_init_value": draw(st.sampled_from([0.1, 1e-5, 0.0])),
        "drop_path_rate": draw(st.sampled_from([0.0, 0.1])),
        "use_mean_pooling": draw(st.booleans()),
    }


SPEC = BackboneSpec(
    BEIT,
    config_fields(),
    reference="BeitModel",
    claims=("global attention", "resize"),
    unread=("embeddings.mask_token",),
)
