"""Small BEiT configs for tests. Needs hypothesis, so nothing else imports it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st


@st.composite
def config_fields(draw: st.DrawFn) -> dict[str, Any]:
    """The fields of a small config.json, all of them that change the maths.

    Absolute positions have a square grid or one that transformers takes for square: others it cannot resize.
    """
    heads = draw(st.sampled_from([1, 2, 4]))
    patch = draw(st.integers(2, 5))
    absolute = draw(st.booleans())
    squares = st.sampled_from([(1, 1), (2, 2), (3, 3), (1, 4), (4, 1)])
    grid = draw(squares if absolute else st.tuples(st.integers(1, 4), st.integers(1, 4)))
    spare = draw(st.tuples(st.integers(0, 1), st.integers(0, 1)))
    return {
        "hidden_size": heads * draw(st.sampled_from([4, 6, 8])),
        "num_hidden_layers": draw(st.integers(1, 3)),
        "num_attention_heads": heads,
        "intermediate_size": draw(st.integers(5, 40)),
        "hidden_act": draw(st.sampled_from(["gelu", "gelu_new", "relu", "silu", "quick_gelu"])),
        "layer_norm_eps": draw(st.sampled_from([1e-12, 1e-5, 1e-2])),
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
