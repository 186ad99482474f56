"""Special tokens: their names, their entries in the files, and those that a class of tokenizer implies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tokenizers import AddedToken

from vedcore.errors import TokenizerError

# transformers adds missing special tokens to the vocabulary in this order, so it decides the ids.
NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
LISTS = ("additional_special_tokens", "extra_special_tokens")
FLAGS = ("lstrip", "rstrip", "single_word", "normalized")

BERT = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
ROBERTA = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "cls_token": "<s>",
    "mask_token": "<mask>",
}
GPT2 = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
NOUGAT = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
_BY_CLASS: dict[str, dict[str, str]] = {
    "bert": BERT,
    "bertjapanese": BERT,
    "distilbert": BERT,
    "gpt2": GPT2,
    "roberta": ROBERTA,
    "xlmroberta": ROBERTA,
    "bart": ROBERTA,
    "nougat": NOUGAT,
}


def class_key(name: Any) -> str:
    """The key of a tokenizer class or a model type in tables: "XLMRobertaTokenizerFast" -> "xlmroberta"."""
    plain = name.removesuffix("Fast").removesuffix("Tokenizer") if isinstance(name, str) else ""
    return plain.lower().replace("-", "").replace("_", "")


def special_tokens_of_class(name: Any) -> dict[str, str]:
    """The special tokens of a tokenizer class or a model type, which published files leave to the class."""
    return _BY_CLASS.get(class_key(name), {})


def token_text(value: Any) -> str | None:
    """The text of a token, which files contain as a string or as an object with flags."""
    text = value.get("content") if isinstance(value, dict) else value
    return text if isinstance(text, str) else None


def added_token(value: Any) -> AddedToken:
    """A special token with the flags in its file."""
    flags = value if isinstance(value, dict) else {}
    given: dict[str, Any] = {name: flags[name] for name in FLAGS if name in flags}
    return AddedToken(token_text(value) or "", **{"normalized": False, "special": True, **given})


def token_list(value: Any, name: str, file: str) -> list[Any]:
    """The entries of a field that lists tokens. Raises TokenizerError if ``value`` is not such a list."""
    values = list(value.values()) if isinstance(value, dict) else value
    if values is None:
        return []
    if not isinstance(values, list) or not all(token_text(item) for item in values):
        raise TokenizerError(
            f"{file}: {name} must be a list of tokens, got {value!r}",
            file=file,
            field=name,
            expected="a list of tokens",
            found=value,
        )
    return values


def special_entries(table: Any) -> list[Any]:
    """The special tokens in an added_tokens_decoder, in the order of their ids."""
    rows = table.items() if isinstance(table, dict) else ()
    special = [(int(k), v) for k, v in rows if k.isdecimal() and isinstance(v, dict) and v.get("special") is True]
    return [value for _, value in sorted(special, key=lambda row: row[0])]


def is_skipped(tokenizer: Any, token: int) -> bool:
    """Whether decoding with ``skip_special_tokens`` leaves the token out.

    Its vocabulary file can mark a token as special that no setting of the tokenizer names.
    """
    return bool(tokenizer.decode([token]) != tokenizer.decode([token], skip_special_tokens=True))


def mark_special(core: Any, values: Iterable[Any]) -> None:
    """Make each a special token of ``core``, a tokenizer of the tokenizers library; add it if it is not in the vocabulary."""
    known = {token.content for token in core.get_added_tokens_decoder().values() if token.special}
    for value in values:
        text = token_text(value)
        if text and text not in known:
            core.add_special_tokens([added_token(value)])
            known.add(text)
