"""Small GPT-2 configs for tests. Needs hypothesis, so nothing else imports it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st


@st.composite
def config_fields(draw: st.DrawFn) -> dict[str, Any]:
    """The fields of a small config.json, all of them that change the maths."""
    heads = draw(st.sampled_from([1, 2, 4]))
    return {
        "vocab_size": draw(st.integers(12, 30)),
        "n_positions": draw(st.integers(12, 20)),
        "n_embd": heads * draw(st.sampled_from([4, 6, 8])),
        "n_layer": draw(st.integers(1, 3)),
        "n_head": heads,
        "n_inner": draw(st.sampled_from([None, 7, 50])),
        "activation_function": draw(st.sampled_from(["gelu_new", "gelu", "relu", "silu"])),
        "layer_norm_epsilon": draw(st.sampled_from([1e-5, 1e-2])),
        "scale_attn_weights": draw(st.booleans()),
        "scale_attn_by_inverse_layer_idx": draw(st.booleans()),
        "tie_word_embeddings": draw(st.booleans()),
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": draw(st.sampled_from([0, 2])),
    }
