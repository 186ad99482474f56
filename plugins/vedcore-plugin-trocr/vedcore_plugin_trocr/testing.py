"""How to test the TrOCR decoder: small configs and its spec. It needs hypothesis, so only tests import it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from vedcore.testing import BackboneSpec
from vedcore_plugin_trocr import TROCR


@st.composite
def config_fields(draw: st.DrawFn) -> dict[str, Any]:
    """The fields of a small config.json. All that changes the outputs varies, except the width of the encoder."""
    heads = draw(st.sampled_from([1, 2, 3]))
    return {
        "vocab_size": draw(st.integers(12, 30)),
        "d_model": heads * draw(st.sampled_from([4, 5, 6, 8])),
        "decoder_layers": draw(st.integers(1, 3)),
        "decoder_attention_heads": heads,
        "decoder_ffn_dim": draw(st.integers(5, 40)),
        "activation_function": draw(st.sampled_from(["gelu", "relu", "silu", "gelu_new"])),
        "max_position_embeddings": draw(st.integers(12, 20)),
        "scale_embedding": draw(st.booleans()),
        "use_learned_position_embeddings": draw(st.booleans()),
        "layernorm_embedding": draw(st.booleans()),
        "tie_word_embeddings": draw(st.booleans()),
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": draw(st.sampled_from([0, 1, 3])),
        "decoder_start_token_id": 2,
    }


SPEC = BackboneSpec(TROCR, config_fields(), reference="TrOCRForCausalLM")
