"""RoBERTa, a BERT whose positions start after the padding id, and XLM-RoBERTa, the same for a hundred languages.

Shapes: R rows, T tokens, D hidden size, V vocabulary size.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from vedcore import DecoderPart, InputError, KeyMap, Rule, Step
from vedcore.nn import (
    TENSORFLOW_NORMS,
    BertHead,
    Blocks,
    bert_block,
    bert_blocks,
    bert_cross,
    bert_embeddings,
    bert_sizes,
    bert_text_embeddings,
    initialize,
    positions_from_ids,
)
from vedcore_plugin_roberta.config import RobertaConfig, RobertaFields, XLMRobertaConfig

KEYMAP = KeyMap(
    rules=(  # (on disk, here)
        *bert_embeddings("roberta.embeddings"),
        *bert_blocks("roberta.encoder.layer.{i}"),
        Rule("lm_head.layer_norm", "lm_head.norm"),
    ),
    aliases=(
        ("embeddings", "roberta.embeddings"),  # a file of the model without its head
        ("encoder", "roberta.encoder"),
        *TENSORFLOW_NORMS,
    ),
    dropped=(  # a buffer, and the heads of other tasks
        "roberta.embeddings.position_ids",
        "roberta.pooler",
        "pooler",
        "classifier",
        "qa_outputs",
    ),
)


class RobertaDecoder(DecoderPart[RobertaFields]):
    """The decoder of both model types. A subclass names its config class."""

    keymap: ClassVar = KEYMAP

    def __init__(self, config: RobertaFields) -> None:
        super().__init__(config)
        self.sizes = bert_sizes(config, config.max_tokens)
        self.pad = config.pad_token_id
        self.embeddings = bert_text_embeddings(config, self.pad)
        # Padding tokens have this position. Its vector starts at zero and is not trained.
        self.embeddings.positions.padding_idx = self.pad
        self.blocks = Blocks(bert_block(config) for _ in range(config.num_hidden_layers))
        initialize(self, config.initializer_range)
        self.cross = self.make_cross() if config.add_cross_attention else None
        self.norm = nn.Identity()  # each block ends with a norm
        # The head's activation is GELU, whatever hidden_act is.
        self.lm_head = BertHead(config.hidden_size, config.vocab_size, "gelu", norm_eps=config.layer_norm_eps)
        initialize(self.lm_head, config.initializer_range)
        if config.tie_word_embeddings:
            self.lm_head.tie(self.embeddings.tokens)

    @property
    def token_embedding(self) -> nn.Embedding:
        """(R, T) ids -> (R, T, D)."""
        return self.embeddings.tokens

    def embed(self, input_ids: Tensor | None, step: Step, /, *, inputs_embeds: Tensor | None = None) -> Tensor:
        """(R, T) ids, or (R, T, D) embeddings in their place -> (R, T, D), with positions and token types added."""
        positions = self.positions(input_ids if inputs_embeds is None else None, step)
        return self.embeddings(  # type: ignore[no-any-return]
            input_ids, positions, token_types=step.token_types, inputs_embeds=inputs_embeds
        )

    def make_cross(self) -> nn.ModuleList:
        """New cross-attention layers."""
        return bert_cross(self.config)

    def positions(self, input_ids: Tensor | None, step: Step) -> Tensor:
        """-> (R or 1, T). Padding tokens are not counted. Without ids every token counts.

        Raises InputError if the step has neither slots nor positions.
        """
        if step.positions is not None:
            return step.positions
        if step.slots is None:
            raise InputError("a decoder's step needs slots or positions", tensor="slots")
        return step.slots + self.pad + 1 if input_ids is None else positions_from_ids(input_ids, step.slots, self.pad)


class RobertaForCausalLM(RobertaDecoder):
    """A causal RoBERTa, with cross-attention if the config has ``add_cross_attention``."""

    config_class: ClassVar = RobertaConfig


class XLMRobertaForCausalLM(RobertaDecoder):
    """A causal XLM-RoBERTa, with cross-attention if the config has ``add_cross_attention``."""

    config_class: ClassVar = XLMRobertaConfig
