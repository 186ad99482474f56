"""How to test the GPT-2 decoder: small configs and its spec. It needs hypothesis, so only tests import it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from vedcore.testing import BackboneSpec
from vedcore_plugin_gpt2 import GPT2


@st.composite
def config_fields(draw: st.DrawFn) -> dict[str, Any]:
    """The fields of a small config.json. They include every field that changes the outputs."""
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


SPEC = BackboneSpec(GPT2, config_fields(), reference="GPT2LMHeadModel")
