"""How to test the BERT decoder: small configs and its spec. It needs hypothesis, so only tests import it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from vedcore.testing import BackboneSpec, transformer_fields
from vedcore_plugin_bert import BERT


@st.composite
def config_fields(draw: st.DrawFn) -> dict[str, Any]:
    """The fields of a small config.json. They include every field that changes the outputs."""
    return {
        **draw(transformer_fields()),
        "vocab_size": draw(st.integers(12, 30)),
        "max_position_embeddings": draw(st.integers(12, 20)),
        "type_vocab_size": draw(st.sampled_from([1, 2])),
        "tie_word_embeddings": draw(st.booleans()),
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": draw(st.sampled_from([0, 2, None])),
    }


SPEC = BackboneSpec(BERT, config_fields(), reference="BertLMHeadModel", unread=("lm_head.bias",))
