"""How to test the ViT encoder: small configs and its spec. It needs hypothesis, so only tests import it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from vedcore.testing import BackboneSpec, image_fields, transformer_fields
from vedcore_plugin_vit import VIT


@st.composite
def config_fields(draw: st.DrawFn) -> dict[str, Any]:
    """The fields of a small config.json. They include every field that changes the outputs."""
    return {**draw(transformer_fields()), **draw(image_fields()), "qkv_bias": draw(st.booleans())}


SPEC = BackboneSpec(
    VIT,
    config_fields(),
    reference="ViTModel",
    claims=("global attention", "resize"),
    derived=("pooler_output_size",),
)
