"""How to test the BART and MBart decoders: small configs and their specs. It needs hypothesis, so only tests import it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from vedcore.testing import BackboneSpec
from vedcore_plugin_bart import BART, MBART


@st.composite
def config_fields(draw: st.DrawFn) -> dict[str, Any]:
    """The fields of a small config.json of either model type. They include every field that changes the outputs."""
    heads = draw(st.sampled_from([1, 2, 4]))
    return {
        "vocab_size": draw(st.integers(12, 30)),
        "d_model": heads * draw(st.sampled_from([4, 6, 8])),
        "decoder_layers": draw(st.integers(1, 3)),
        "decoder_attention_heads": heads,
        "decoder_ffn_dim": draw(st.integers(5, 40)),
        "activation_function": draw(st.sampled_from(["gelu", "relu", "silu", "gelu_new"])),
        "max_position_embeddings": draw(st.integers(12, 20)),
        "scale_embedding": draw(st.booleans()),
        "tie_word_embeddings": draw(st.booleans()),
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": draw(st.sampled_from([0, 1, 2])),
        "decoder_start_token_id": draw(st.sampled_from([0, 2])),
    }


BART_SPEC = BackboneSpec(BART, config_fields(), reference="BartForCausalLM")
MBART_SPEC = BackboneSpec(MBART, config_fields(), reference="MBartForCausalLM")
