"""RoBERTa, a BERT whose positions start after the padding id, and XLM-RoBERTa, the same for a hundred languages.

Shapes: R rows, T tokens, D hidden size, V vocabulary size.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from vedcore import InputError, KeyMap, Part, Rule, Step
from vedcore.nn import (
    TENSORFLOW_NORMS,
    BertHead,
    Blocks,
    bert_block,
    bert_blocks,
    bert_cross_attention,
    bert_embeddings,
    bert_seam,
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


class RobertaDecoder(Part[RobertaFields]):
    """The decoder of both model types. A subclass names its config class."""

    keymap: ClassVar = KEYMAP

    def __init__(self, config: RobertaFields) -> None:
        super().__init__(config)
        self.hidden_size = self.memory_size = config.hidden_size
        self.vocab_size, self.max_positions = config.vocab_size, config.max_tokens
        heads, layers = config.num_attention_heads, config.num_hidden_layers
        self.cache_shapes = ((heads, config.hidden_size // heads),) * layers
        self.seam = bert_seam(config)
        self.pad = config.pad_token_id
        self.embeddings = bert_text_embeddings(config, self.pad)
        # Padding tokens have this position. Its vector starts at zero and is not trained.
        self.embeddings.positions.padding_idx = self.pad
        self.blocks = Blocks(bert_block(config) for _ in range(layers))
        initialize(self, config.initializer_range)
        self.cross: nn.ModuleList | None = None
        if config.add_cross_attention:
            self.cross = nn.ModuleList(bert_cross_attention(config) for _ in range(layers))
            initialize(self.cross, config.initializer_range)
        # The head's activation is GELU, whatever hidden_act is.
        self.lm_head = BertHead(config.hidden_size, config.vocab_size, "gelu", norm_eps=config.layer_norm_eps)
        initialize(self.lm_head, config.initializer_range)
        if config.tie_word_embeddings:
            self.lm_head.tie(self.embeddings.tokens)

    @property
    def token_embedding(self) -> nn.Embedding:
        """(R, T) ids -> (R, T, D)."""
        return self.embeddings.tokens

    def forward(self, input_ids: Tensor | None, step: Step, /, *, inputs_embeds: Tensor | None = None) -> Tensor:
        """(R, T) ids, or (R, T, D) embeddings in their place -> (R, T, D) hidden states."""
        positions = self.positions(input_ids if inputs_embeds is None else None, step)
        x = self.embeddings(input_ids, positions, token_types=step.token_types, inputs_embeds=inputs_embeds)
        return self.blocks(x, step, self.cross)  # type: ignore[no-any-return]

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
