"""The config of a BERT, field by field as in the config.json files of transformers."""

from __future__ import annotations

from vedcore.config import TokenIds, field, model_config
from vedcore.nn import BertFields


@model_config("bert")
class BertConfig(BertFields):
    """Sizes of a BERT decoder. The defaults are BERT-Base, uncased. Most fields are in ``BertFields``."""

    bos_token_id: int | None = field.token_ids(None)
    eos_token_id: TokenIds = field.token_ids(None)
    pad_token_id: int | None = field.token_ids(0)
