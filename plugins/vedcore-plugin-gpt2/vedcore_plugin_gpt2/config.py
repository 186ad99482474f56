"""The config of a GPT-2, field by field as in the config.json files of transformers."""

from __future__ import annotations

from vedcore.config import Config, TokenIds, field, model_config
from vedcore.nn import ACTIVATIONS


@model_config("gpt2")
class GPT2Config(Config):
    """Sizes of a GPT-2 decoder. The defaults are the smallest published one, 124 million parameters."""

    vocab_size: int = field.integer(50257)
    n_positions: int = field.integer(1024)
    n_embd: int = field.width(768)
    n_layer: int = field.layers(12)
    n_head: int = field.heads(12)
    n_inner: int | None = field.integer(None)
    activation_function: str = field.text("gelu_new", one_of=ACTIVATIONS)
    resid_pdrop: float = field.rate(0.1)
    embd_pdrop: float = field.rate(0.1)
    attn_pdrop: float = field.rate(0.1)
    layer_norm_epsilon: float = field.number(1e-5, above=0.0)
    initializer_range: float = field.number(0.02, above=0.0)
    scale_attn_weights: bool = field.flag(True)
    scale_attn_by_inverse_layer_idx: bool = field.flag(False)
    add_cross_attention: bool = field.flag(False)
    tie_word_embeddings: bool = field.flag(True)
    bos_token_id: int | None = field.token_ids(50256)
    eos_token_id: TokenIds = field.token_ids(50256)
    pad_token_id: int | None = field.token_ids(None)

    @property
    def hidden_size(self) -> int:
        """``n_embd``, under the name that other architectures use."""
        return self.n_embd

    @property
    def mlp_width(self) -> int:
        """``n_inner``, or four times ``n_embd`` if that is unset."""
        return self.n_inner or 4 * self.n_embd

    def attention_scale(self, layer: int) -> float:
        """The factor of the attention scores in block ``layer``, in self-attention and cross-attention."""
        scale = (self.n_embd / self.n_head) ** -0.5 if self.scale_attn_weights else 1.0
        return scale / (layer + 1) if self.scale_attn_by_inverse_layer_idx else scale
