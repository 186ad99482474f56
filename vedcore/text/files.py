"""The files of a tokenizer in a folder: tokenizer.json, or the vocabulary files of an older format, and their settings."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vedcore.errors import CheckpointNotFound, ConfigError, TokenizerError, foreign
from vedcore.storage.files import read_json, staged, write_json
from vedcore.text.legacy import build_from_vocabulary
from vedcore.text.special_tokens import NAMES, token_text

TOKENIZER_FILE = "tokenizer.json"
SETTINGS_FILE = "tokenizer_config.json"
_OLD_MAP = "special_tokens_map.json"


@dataclass(frozen=True)
class TokenizerFiles:
    """What the files of a folder say.

    data: the bytes of a tokenizer.json. settings: the fields of tokenizer_config.json and special_tokens_map.json.
    where: the file that holds the vocabulary. family: the model type in config.json, or None.
    """

    data: bytes
    settings: dict[str, Any]
    where: str
    family: str | None


def read_tokenizer_files(folder: Path) -> TokenizerFiles:
    """The tokenizer files of ``folder``. Raises TokenizerError."""
    try:
        settings, model = _optional(folder / SETTINGS_FILE), _optional(folder / "config.json")
        old = _optional(folder / _OLD_MAP)
        settings = {**old, **settings} if "added_tokens_decoder" in settings else {**settings, **old}
        decoder = model.get("decoder")
        family = (decoder if isinstance(decoder, dict) else model).get("model_type")
        family = family if isinstance(family, str) else None
        path = folder / TOKENIZER_FILE
        if path.is_file():
            with foreign(TokenizerError, str(path), file=path):
                return TokenizerFiles(path.read_bytes(), settings, str(path), family)
        core, settings, where = build_from_vocabulary(folder, settings, family)
        with foreign(TokenizerError, where, file=where):
            return TokenizerFiles(core.to_str().encode(), settings, where, family)
    except (ConfigError, CheckpointNotFound) as error:
        raise as_tokenizer_error(error) from error


def write_tokenizer_files(
    folder: str | os.PathLike[str],
    data: Mapping[str, Any],
    settings: Mapping[str, Any],
    special_tokens: Mapping[str, str],
) -> None:
    """Write tokenizer.json and tokenizer_config.json. Raises SaveError and leaves the folder as it was.

    ``special_tokens`` replace those in ``settings``: one with the same text keeps its flags.
    """
    fields = {"tokenizer_class": "PreTrainedTokenizerFast", **settings}
    for name in NAMES:
        token = special_tokens.get(name)
        if token is not None and token_text(fields.get(name)) != token:
            fields[name] = token
        elif token is None:
            fields.pop(name, None)
    for name in NAMES:
        if isinstance(fields.get(name), dict):  # a special_tokens_map.json leaves the type out
            fields[name] = {"__type": "AddedToken", **fields[name]}
    # The settings contain what these two files said. If they stayed, they could come to contradict the settings.
    with staged(folder, replaces=(_OLD_MAP, "added_tokens.json")) as stage:
        text = json.dumps(data, indent=2, ensure_ascii=False)
        (stage / TOKENIZER_FILE).write_text(text, encoding="utf-8")
        write_json(stage / SETTINGS_FILE, fields)


def as_tokenizer_error(error: ConfigError | CheckpointNotFound) -> TokenizerError:
    """The same error as a TokenizerError."""
    return TokenizerError(str(error), file=error.file, field=error.field, expected=error.expected, found=error.found)


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}
