"""The fields of a tokenizer_config.json that the tokenizer uses, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vedcore.errors import TokenizerError
from vedcore.text.special_tokens import LISTS, NAMES, token_list, token_text

_NO_LIMIT = 10**29  # transformers writes 10**30 for a model_max_length that is not set


@dataclass(frozen=True)
class TokenizerSettings:
    """The checked fields.

    named: the entries of bos_token, eos_token and so on that are set. listed: the further special tokens.
    cleans_spaces: whether the file asks to remove the spaces before punctuation.
    """

    named: dict[str, Any]
    listed: list[Any]
    model_max_length: int | None
    padding_side: str
    truncation_side: str
    cleans_spaces: bool


def check_settings(fields: Mapping[str, Any], file: str) -> TokenizerSettings:
    """The settings in ``fields``. Raises TokenizerError; the message starts with ``file``."""
    length = fields.get("model_max_length")
    if length is not None and (type(length) not in (int, float) or length < 1):
        raise _error("model_max_length", "an int of at least 1", length, file)
    for name in ("padding_side", "truncation_side"):
        if fields.get(name, "right") not in ("left", "right"):
            raise _error(name, "'left' or 'right'", fields[name], file)
    named = {name: fields[name] for name in NAMES if fields.get(name) is not None}
    listed = [token for name in LISTS for token in token_list(fields.get(name), name, file)]
    for name, value in named.items():
        if not token_text(value):
            raise _error(name, "a string or an AddedToken", value, file)
    return TokenizerSettings(
        named=named,
        listed=listed,
        model_max_length=int(length) if length is not None and length < _NO_LIMIT else None,
        padding_side=fields.get("padding_side", "right"),
        truncation_side=fields.get("truncation_side", "right"),
        cleans_spaces=fields.get("clean_up_tokenization_spaces") is True,
    )


def _error(name: str, expected: str, found: Any, file: str) -> TokenizerError:
    return TokenizerError(
        f"{file}: {name} must be {expected}, got {found!r}", file=file, field=name, expected=expected, found=found
    )
