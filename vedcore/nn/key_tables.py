"""Rules of a KeyMap that several architectures share: the names of blocks and embeddings in their files.

In memory, ``blocks`` is a list of ``PreNormBlock`` or ``PostNormBlock``, and ``cross`` is the list of cross-attention layers.
"""

from __future__ import annotations

from vedcore.storage.keymap import Rule

_VIT = "encoder.layer.{i}"

VIT_BLOCKS = (
    Rule(f"{_VIT}.layernorm_before", "blocks.{i}.attention_norm"),
    Rule(f"{_VIT}.attention.output.dense", "blocks.{i}.attention.out"),
    Rule(f"{_VIT}.attention.attention", "blocks.{i}.attention"),
    Rule(f"{_VIT}.layernorm_after", "blocks.{i}.mlp_norm"),
    Rule(f"{_VIT}.intermediate.dense", "blocks.{i}.mlp.up"),
    Rule(f"{_VIT}.output.dense", "blocks.{i}.mlp.down"),
)
"""The blocks of ViT, DeiT and BEiT."""

VIT_BLOCK_ALIASES = (
    ("layers.{i}.attention.q_proj", f"{_VIT}.attention.attention.query"),
    ("layers.{i}.attention.k_proj", f"{_VIT}.attention.attention.key"),
    ("layers.{i}.attention.v_proj", f"{_VIT}.attention.attention.value"),
    ("layers.{i}.attention.o_proj", f"{_VIT}.attention.output.dense"),
    ("layers.{i}.mlp.fc1", f"{_VIT}.intermediate.dense"),
    ("layers.{i}.mlp.fc2", f"{_VIT}.output.dense"),
    ("layers.{i}", _VIT),
)
"""Aliases of the same blocks: their names in memory in transformers 5. ``save_pretrained`` does not write these names."""


def bert_embeddings(embeddings: str) -> tuple[Rule, ...]:
    """The rules for the embeddings of BERT and RoBERTa. embeddings: the name of the module in the file."""
    return (
        Rule(f"{embeddings}.word_embeddings", "embeddings.tokens"),
        Rule(f"{embeddings}.position_embeddings", "embeddings.positions"),
        Rule(f"{embeddings}.token_type_embeddings", "embeddings.types"),
        Rule(f"{embeddings}.LayerNorm", "embeddings.norm"),
    )


def bert_blocks(layer: str) -> tuple[Rule, ...]:
    """The rules for the blocks of BERT and RoBERTa. layer: the name of a block in the file, with ``{i}`` for its number."""
    return (
        Rule(f"{layer}.attention.output.dense", "blocks.{i}.attention.out"),
        Rule(f"{layer}.attention.output.LayerNorm", "blocks.{i}.attention_norm"),
        Rule(f"{layer}.attention.self", "blocks.{i}.attention"),
        Rule(f"{layer}.crossattention.output.dense", "cross.{i}.attention.out"),
        Rule(f"{layer}.crossattention.output.LayerNorm", "cross.{i}.norm"),
        Rule(f"{layer}.crossattention.self", "cross.{i}.attention"),
        Rule(f"{layer}.intermediate.dense", "blocks.{i}.mlp.up"),
        Rule(f"{layer}.output.dense", "blocks.{i}.mlp.down"),
        Rule(f"{layer}.output.LayerNorm", "blocks.{i}.mlp_norm"),
    )


TENSORFLOW_NORMS = (
    ("{path}.LayerNorm.gamma", "{path}.LayerNorm.weight"),
    ("{path}.LayerNorm.beta", "{path}.LayerNorm.bias"),
)
"""Aliases of norm weights in files of the BERT family that were converted from TensorFlow."""

_FAIRSEQ = "model.decoder.layers.{i}"

FAIRSEQ_BLOCKS = (
    Rule(f"{_FAIRSEQ}.self_attn.q_proj", "blocks.{i}.attention.query"),
    Rule(f"{_FAIRSEQ}.self_attn.k_proj", "blocks.{i}.attention.key"),
    Rule(f"{_FAIRSEQ}.self_attn.v_proj", "blocks.{i}.attention.value"),
    Rule(f"{_FAIRSEQ}.self_attn.out_proj", "blocks.{i}.attention.out"),
    Rule(f"{_FAIRSEQ}.self_attn_layer_norm", "blocks.{i}.attention_norm"),
    Rule(f"{_FAIRSEQ}.encoder_attn.q_proj", "cross.{i}.attention.query"),
    Rule(f"{_FAIRSEQ}.encoder_attn.k_proj", "cross.{i}.attention.key"),
    Rule(f"{_FAIRSEQ}.encoder_attn.v_proj", "cross.{i}.attention.value"),
    Rule(f"{_FAIRSEQ}.encoder_attn.out_proj", "cross.{i}.attention.out"),
    Rule(f"{_FAIRSEQ}.encoder_attn_layer_norm", "cross.{i}.norm"),
    Rule(f"{_FAIRSEQ}.fc1", "blocks.{i}.mlp.up"),
    Rule(f"{_FAIRSEQ}.fc2", "blocks.{i}.mlp.down"),
    Rule(f"{_FAIRSEQ}.final_layer_norm", "blocks.{i}.mlp_norm"),
)
"""The blocks of BART, MBart and TrOCR."""
