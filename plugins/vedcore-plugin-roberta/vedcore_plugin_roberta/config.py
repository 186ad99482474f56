"""The configs of RoBERTa and XLM-RoBERTa, field by field as in the config.json files of transformers."""

from __future__ import annotations

from vedcore import ConfigError
from vedcore.config import TokenIds, field, model_config, settings
from vedcore.nn import BertFields


@settings
class RobertaFields(BertFields):
    """The fields that both have. They are one architecture with two vocabularies."""

    bos_token_id: int | None = field.token_ids(0)
    eos_token_id: TokenIds = field.token_ids(2)
    pad_token_id: int = field.integer(1, at_least=0)

    @property
    def max_tokens(self) -> int:
        """The number of tokens that have a position. The first has the position ``pad_token_id`` + 1.

        Raises ConfigError if there is none.
        """
        count = self.max_position_embeddings - self.pad_token_id - 1
        if count < 1:
            raise ConfigError(
                f"max_position_embeddings ({self.max_position_embeddings}) must be at least pad_token_id "
                f"({self.pad_token_id}) + 2, because the first token has the position pad_token_id + 1",
                field="max_position_embeddings",
                expected=f"at least {self.pad_token_id + 2}",
                found=self.max_position_embeddings,
            )
        return count


@model_config("roberta")
class RobertaConfig(RobertaFields):
    """Sizes of a RoBERTa decoder. The defaults are those of transformers' class; the file of roberta-base differs."""

    vocab_size: int = field.integer(50265)


@model_config("xlm-roberta")
class XLMRobertaConfig(RobertaFields):
    """Sizes of an XLM-RoBERTa decoder. The defaults are those of transformers' class."""
