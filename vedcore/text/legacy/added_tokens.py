"""Tokens that files add to a vocabulary: added_tokens_decoder in the settings, or added_tokens.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tokenizers import AddedToken, Tokenizer

from vedcore.errors import TokenizerError
from vedcore.storage.files import read_json
from vedcore.text.legacy.folder import VocabularyFolder
from vedcore.text.special_tokens import FLAGS, LISTS, NAMES, added_token, mark_special, token_list, token_text


def add_tokens(core: Tokenizer, folder: VocabularyFolder) -> None:
    """Add tokens in the order that gives transformers' ids: those of the files by their ids, then the special tokens.

    Raises TokenizerError if a token does not get the id that its file states.
    """
    settings = folder.settings
    named = [settings[name] for name in NAMES if settings.get(name) is not None]
    file = str(folder.path / "tokenizer_config.json")
    listed = [value for name in LISTS for value in token_list(settings.get(name), name, file)]
    special = {token_text(value) for value in (*named, *listed)}
    flagged = {token_text(value): value for value in (*listed, *named) if isinstance(value, dict)}
    for number, token in _tokens_by_id(folder, special, flagged):
        core.add_tokens([token])
        found = core.token_to_id(token.content)
        if found != number:
            raise TokenizerError(
                f"{folder.path}: the added token {token.content!r} must have the id {number}, but it gets {found}",
                file=folder.path,
                expected=number,
                found=found,
            )
    mark_special(core, (*named, *listed))


def _tokens_by_id(
    folder: VocabularyFolder, special: set[str | None], flagged: Mapping[Any, Any]
) -> list[tuple[int, AddedToken]]:
    """The tokens of added_tokens_decoder, or else of added_tokens.json, in the order of their ids."""
    rows: list[tuple[int, AddedToken]] = []
    table, path = folder.settings.get("added_tokens_decoder"), folder.path / "added_tokens.json"
    if isinstance(table, dict):
        for key, value in table.items():
            if not key.isdecimal() or not isinstance(value, dict) or not token_text(value):
                raise TokenizerError(
                    f"{folder.path}: added_tokens_decoder: {key!r} must be an id with a token",
                    file=folder.path,
                    field="added_tokens_decoder",
                    expected="an id with a token",
                    found=key,
                )
            flags = {name: value[name] for name in (*FLAGS, "special") if name in value}
            rows.append((int(key), AddedToken(token_text(value) or "", **flags)))
    elif path.is_file():
        for text, number in read_json(path).items():
            if type(number) is not int or not text:
                raise TokenizerError(
                    f"{path}: the id of {text!r} is {number!r}", file=path, expected="an int", found=number
                )
            plain = AddedToken(text, normalized=text not in special, special=text in special)
            rows.append((number, added_token(flagged[text]) if text in flagged else plain))
    return sorted(rows, key=lambda row: row[0])
