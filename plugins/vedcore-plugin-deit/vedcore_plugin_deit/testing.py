"""How to test the DeiT encoder: small configs and its spec. It needs hypothesis, so only tests import it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from vedcore.testing import BackboneSpec, image_fields, transformer_fields
from vedcore_plugin_deit import DEIT


@st.composite
def config_fields(draw: st.DrawFn) -> dict[str, Any]:
    """The fields of a small config.json. They include every field that changes the outputs."""
    return {**draw(transformer_fields()), **draw(image_fields()), "qkv_bias": draw(st.booleans())}


SPEC = BackboneSpec(
    DEIT,
    config_fields(),
    reference="DeiTModel",
    claims=("global attention", "resize"),
    derived=("pooler_output_size",),
)
