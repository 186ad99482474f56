"""Config fields that BERT and RoBERTa share, and the modules that are built from them."""

from __future__ import annotations

import torch
from torch import nn

from vedcore.config import Config, field, settings
from vedcore.contract.protocols import DecoderSizes, Seam
from vedcore.nn.attention import CrossAttention, SelfAttention
from vedcore.nn.blocks import PostNormBlock, PostNormCrossAttention
from vedcore.nn.embeddings import TextEmbeddings
from vedcore.nn.heads import TransformHead
from vedcore.nn.init import initialize
from vedcore.nn.mlp import ACTIVATIONS, MLP


@settings
class BertFields(Config):
    """The config fields that BERT and RoBERTa share, by their names in config.json. The defaults are BERT-Base, uncased."""

    vocab_size: int = field.integer(30522)
    hidden_size: int = field.width(768)
    num_hidden_layers: int = field.layers(12)
    num_attention_heads: int = field.heads(12)
    intermediate_size: int = field.integer(3072)
    hidden_act: str = field.text("gelu", one_of=ACTIVATIONS)
    hidden_dropout_prob: float = field.rate(0.1)
    attention_probs_dropout_prob: float = field.rate(0.1)
    max_position_embeddings: int = field.integer(512)
    # The relative types add terms to the attention scores. They are not implemented, so the text would be wrong.
    position_embedding_type: str = field.text("absolute", one_of=("absolute",))
    type_vocab_size: int = field.integer(2)
    initializer_range: float = field.number(0.02, above=0.0)
    layer_norm_eps: float = field.number(1e-12, above=0.0)
    is_decoder: bool = field.flag(True)
    add_cross_attention: bool = field.flag(False)
    tie_word_embeddings: bool = field.flag(True)

    def __attrs_post_init__(self) -> None:
        """Set ``is_decoder``. The model is always causal, even if the config is that of an encoder."""
        self.is_decoder = True


def bert_text_embeddings(config: BertFields, pad: int | None) -> TextEmbeddings:
    """Token, position and token type embeddings. pad: the id of the token whose vector starts at zero and is not trained.

    Raises ConfigError if ``pad`` is not in the vocabulary.
    """
    return TextEmbeddings(
        config.vocab_size,
        config.hidden_size,
        config.max_position_embeddings,
        norm_eps=config.layer_norm_eps,
        dropout=config.hidden_dropout_prob,
        token_types=config.type_vocab_size,
        pad=pad,
    )


def bert_block(config: BertFields) -> PostNormBlock:
    """One block of self-attention and MLP, norms last. Raises ConfigError unless the heads divide the hidden size."""
    attention = SelfAttention(
        config.hidden_size, config.num_attention_heads, attention_dropout=config.attention_probs_dropout_prob
    )
    mlp = MLP(config.hidden_size, config.intermediate_size, config.hidden_act)
    return PostNormBlock(attention, bert_norm(config), mlp, bert_norm(config), dropout=config.hidden_dropout_prob)


def bert_cross_attention(config: BertFields) -> PostNormCrossAttention:
    """The cross-attention of one block, norm last. Its weights are not initialised (see ``bert_cross``)."""
    attention = CrossAttention(
        config.hidden_size, config.num_attention_heads, attention_dropout=config.attention_probs_dropout_prob
    )
    return PostNormCrossAttention(attention, bert_norm(config), dropout=config.hidden_dropout_prob)


def bert_norm(config: BertFields) -> nn.LayerNorm:
    """One of the norms of a block."""
    return nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)


def bert_cross(config: BertFields) -> nn.ModuleList:
    """A list of new, initialised cross-attention layers, one for each block."""
    layers = nn.ModuleList(bert_cross_attention(config) for _ in range(config.num_hidden_layers))
    initialize(layers, config.initializer_range)
    return layers


def bert_sizes(config: BertFields, max_positions: int) -> DecoderSizes:
    """The sizes of the decoder. max_positions: the largest number of tokens in a text."""
    return DecoderSizes.uniform(
        hidden_size=config.hidden_size,
        vocab_size=config.vocab_size,
        max_positions=max_positions,
        num_layers=config.num_hidden_layers,
        position_ids=config.max_position_embeddings,
        token_types=config.type_vocab_size,
        seam=Seam(
            norm="post",
            norm_eps=config.layer_norm_eps,
            num_heads=config.num_attention_heads,
            attention_dropout=config.attention_probs_dropout_prob,
            hidden_dropout=config.hidden_dropout_prob,
            initializer_range=config.initializer_range,
        ),
    )


class BertHead(TransformHead):
    """A ``TransformHead`` with a second copy of the output bias, which the files of BERT and RoBERTa contain.

    Only ``decoder.bias`` is used. In a tied head both are one tensor; in an untied head ``bias`` is only saved and loaded.
    """

    def __init__(self, hidden_size: int, vocab_size: int, act: str, *, norm_eps: float) -> None:
        super().__init__(hidden_size, vocab_size, act, norm_eps=norm_eps)
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def tie(self, tokens: nn.Embedding) -> None:
        """Share the weight with the token embedding, and the two biases with each other. Call this after ``initialize``."""
        self.decoder.weight = tokens.weight
        self.bias = self.decoder.bias
