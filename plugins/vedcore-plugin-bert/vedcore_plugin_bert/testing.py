"""Small BERT configs for tests. Needs hypothesis, so nothing else imports it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st


@st.composite
def config_fields(draw: st.DrawFn) -> dict[str, Any]:
    """The fields of a small config.json, all of them that change the maths."""
    heads = draw(st.sampled_from([1, 2, 4]))
    return {
        "vocab_size": draw(st.integers(12, 30)),
        "hidden_size": heads * draw(st.sampled_from([4, 6, 8])),
        "num_hidden_layers": draw(st.integers(1, 3)),
        "num_attention_heads": heads,
        "intermediate_size": draw(st.integers(5, 40)),
        "hidden_act": draw(st.sampled_from(["gelu", "gelu_new", "relu", "silu"])),
        "max_position_embeddings": draw(st.integers(12, 20)),
        "type_vocab_size": draw(st.sampled_from([1, 2])),
        "layer_norm_eps": draw(st.sampled_from([1e-12, 1e-5, 1e-2])),
        "tie_word_embeddings": draw(st.booleans()),
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": draw(st.sampled_from([0, 2, None])),
    }
