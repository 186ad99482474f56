"""The token ids of a checkpoint: which file sets which id, which one generation uses, and what the tokenizer says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vedcore.config import as_tuple, id_tuple
from vedcore.diagnosis.checkpoint import OpenedCheckpoint
from vedcore.errors import VedcoreError
from vedcore.generation.config import FILE as GENERATION_FILE

_BERT_NAMES = {"bos_token_id": "cls_token_id", "eos_token_id": "sep_token_id"}
"""A BERT tokenizer has a class token instead of a begin token, and a separator instead of an end token."""


@dataclass(frozen=True, slots=True)
class IdEntry:
    """A token id as one file sets it.

    name: "eos_token_id", for example.
    place: "config.json", "config.json (decoder)", "generation_config.json" or "tokenizer".
    value: the id, or a tuple of ids.
    token: the token of that id in the tokenizer, or None.
    """

    name: str
    place: str
    value: Any
    token: str | None


def id_entries(checkpoint: OpenedCheckpoint, name: str) -> list[IdEntry]:
    """An entry for each file that sets the token id ``name``."""
    in_decoder = checkpoint.part_json("decoder").get(name) if checkpoint.is_whole else None
    # Without the file, the generation config is derived from config.json.
    generation_config = checkpoint.generation_config if checkpoint.has_file(GENERATION_FILE) else None
    values = {
        "config.json": checkpoint.config_json.get(name),
        "config.json (decoder)": in_decoder,
        GENERATION_FILE: getattr(generation_config, name, None),
        "tokenizer": getattr(checkpoint.tokenizer, name, None),
    }
    ids = {place: as_tuple(value) for place, value in values.items() if value is not None}
    return [IdEntry(name, place, value, tokens_of(checkpoint, value)) for place, value in ids.items()]


def tokens_of(checkpoint: OpenedCheckpoint, ids: Any) -> str | None:
    """The tokens of an id or of several ids, separated by spaces; None if the tokenizer does not have all of them."""
    if checkpoint.tokenizer is None:
        return None
    try:
        tokens = checkpoint.tokenizer.convert_ids_to_tokens(list(id_tuple(ids)))
    except VedcoreError:
        return None
    return None if None in tokens else " ".join(tokens)


def ids_by_file(checkpoint: OpenedCheckpoint, name: str) -> dict[str, tuple[int, ...]]:
    """The valid ids that each config file sets for ``name``; the tokenizer is left out.

    The decoder's section of config.json counts only if no other file sets the id, as in generation.
    """
    values = {entry.place: entry.value for entry in id_entries(checkpoint, name) if entry.place != "tokenizer"}
    in_decoder = values.pop("config.json (decoder)", None)
    if not values and in_decoder is not None and not checkpoint.has_file(GENERATION_FILE):
        values = {"config.json (decoder)": in_decoder}
    ids = {place: tuple(t for t in id_tuple(value) if type(t) is int and t >= 0) for place, value in values.items()}
    return {place: tokens for place, tokens in ids.items() if tokens}


def effective_ids(checkpoint: OpenedCheckpoint, name: str) -> tuple[int, ...]:
    """The ids that generation uses for ``name``; empty if no file sets them."""
    by_file = ids_by_file(checkpoint, name)
    return by_file.get(GENERATION_FILE) or next(iter(by_file.values()), ())


def tokenizer_id(checkpoint: OpenedCheckpoint, name: str) -> int | None:
    """The id that the tokenizer has for ``name``, or None."""
    found: int | None = getattr(checkpoint.tokenizer, name, None)
    return getattr(checkpoint.tokenizer, _BERT_NAMES.get(name, name), None) if found is None else found


def shown(ids: tuple[int, ...]) -> str:
    """Ids as a message shows them: "1, 2"."""
    return ", ".join(map(str, ids))
