"""How to test the DistilBERT decoder: small configs and its spec. It needs hypothesis, so only tests import it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from vedcore.testing import BackboneSpec
from vedcore_plugin_distilbert import DISTILBERT


@st.composite
def config_fields(draw: st.DrawFn) -> dict[str, Any]:
    """The fields of a small config.json. They include every field that changes the outputs."""
    heads = draw(st.sampled_from([1, 2, 4]))
    return {
        "vocab_size": draw(st.integers(12, 30)),
        "max_position_embeddings": draw(st.integers(12, 20)),
        "sinusoidal_pos_embds": draw(st.booleans()),
        "n_layers": draw(st.integers(1, 3)),
        "n_heads": heads,
        "dim": heads * draw(st.sampled_from([4, 6, 8])),
        "hidden_dim": draw(st.integers(5, 40)),
        "activation": draw(st.sampled_from(["gelu", "gelu_new", "relu", "silu"])),
        "tie_word_embeddings": draw(st.booleans()),
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": draw(st.sampled_from([0, 2, None])),
    }


# transformers has DistilBERT only as an encoder, so there is no class to compare a causal one with.
SPEC = BackboneSpec(DISTILBERT, config_fields())
