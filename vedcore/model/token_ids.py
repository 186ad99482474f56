"""The token ids of a composed model: from the arguments, the decoder's files and its tokenizer.

They are stored in ``model.config``. Sources that contradict each other are an error that names both.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs

from vedcore.config import TokenIds, as_tuple, id_tuple
from vedcore.errors import ConfigError, TokenizerError
from vedcore.generation import GenerationConfig
from vedcore.generation.config import FILE as GENERATION_FILE

ID_NAMES = ("decoder_start_token_id", "bos_token_id", "eos_token_id", "pad_token_id")
"""The token ids that a model needs, as config.json names them."""


def move_ids(generation_config: GenerationConfig, config: Any) -> GenerationConfig:
    """Move the ids of ``generation_config`` to ``config`` where both agree or only the former has one."""
    agreed: dict[str, None] = {}
    for name in ID_NAMES:
        own, other = getattr(config, name), getattr(generation_config, name)
        if own is None and other is not None:
            setattr(config, name, other)
        if own is None or own == other:
            agreed[name] = None
    return generation_config.replace(**agreed)


def settle(source: Any, config: Any, given: Mapping[str, Any]) -> tuple[dict[str, TokenIds], GenerationConfig]:
    """The ids that the decoder's files agree on, and its generation config without them.

    ``given`` comes first, then the decoder's config, its generation config and its tokenizer, which may not contradict each
    other. A missing start id is the begin token or BERT's class token, a missing end id BERT's separator.
    Raises ConfigError with both sources if they contradict each other, or for an id beyond the vocabulary.
    """
    vocabulary, folder = source.module.sizes.vocab_size, source.folder
    generation = GenerationConfig() if folder is None else GenerationConfig.from_pretrained(folder)
    tokenizer = None if folder is None else _tokenizer(folder)
    has_file = folder is not None and (folder / GENERATION_FILE).is_file()
    generated = GENERATION_FILE if has_file else "config.json"
    ids: dict[str, TokenIds] = {}
    origin: dict[str, str] = {}
    for name in ID_NAMES:
        found = {
            "the decoder's config": _id_in(config, name),
            generated: getattr(generation, name),
            "the tokenizer": getattr(tokenizer, name, None),
        }
        if name in given:
            found = {"the arguments": as_tuple(given[name])} if given[name] is not None else {}
        else:
            found = {
                p: v for p, v in found.items() if v is not None and not _is_empty_default(config, name, v, vocabulary)
            }
            _agree(name, found, folder)
        origin[name], ids[name] = next(iter(found.items()), ("", None))
    if tokenizer is not None and ids["eos_token_id"] is None and "eos_token_id" not in given:
        ids["eos_token_id"], origin["eos_token_id"] = tokenizer.sep_token_id, "the tokenizer"
    if ids["decoder_start_token_id"] is None and "decoder_start_token_id" not in given:
        ids["decoder_start_token_id"], origin["decoder_start_token_id"] = ids["bos_token_id"], origin["bos_token_id"]
        if ids["bos_token_id"] is None and tokenizer is not None:
            ids["decoder_start_token_id"], origin["decoder_start_token_id"] = tokenizer.cls_token_id, "the tokenizer"
    # A longer list of end tokens than the config's stays in the generation config.
    more = () if "eos_token_id" in given else id_tuple(generation.eos_token_id)
    keeps = len(more) > len(id_tuple(ids["eos_token_id"]))
    checked = [(name, origin[name], value) for name, value in ids.items()]
    for name, place, value in [*checked, *([("eos_token_id", generated, more)] if keeps else [])]:
        for token in id_tuple(value):
            if type(token) is int and token >= vocabulary:
                raise ConfigError(
                    f"{_where(folder)}{name} is {token} in {place}, but the decoder's vocabulary has {vocabulary} "
                    f"tokens; is the tokenizer the decoder's? Pass {name}= to set it",
                    file=folder,
                    field=name,
                    expected=f"an id below {vocabulary}",
                    found=token,
                )
    unset = [name for name in ID_NAMES if name != "eos_token_id" or not keeps]
    return ids, generation.replace(**dict.fromkeys(unset))


def _id_in(config: Any, name: str) -> Any:
    """An id in a part's config, from its own fields or from the unknown fields of the file, which it keeps."""
    value = getattr(config, name, None)
    value = config.extra.get(name) if value is None else value
    ids = as_tuple(value)
    return ids if all(type(token) is int and token >= 0 for token in id_tuple(ids)) else None


def _is_empty_default(config: Any, name: str, value: TokenIds, vocabulary: int) -> bool:
    """Whether ``value`` is only the class's default, made for a larger vocabulary. transformers writes it to files."""
    attribute = attrs.fields_dict(type(config)).get(name)
    return attribute is not None and value == attribute.default and max(id_tuple(value)) >= vocabulary


def _agree(name: str, found: Mapping[str, Any], folder: Path | None) -> None:
    """Raises ConfigError if ids contradict each other. A list of end tokens agrees with each of its tokens."""
    if not found:
        return
    place, most = max(found.items(), key=lambda item: len(id_tuple(item[1])))
    for other, value in found.items():
        if not set(id_tuple(value)) <= set(id_tuple(most)):
            first, second = sorted([(place, most), (other, value)], key=lambda item: list(found).index(item[0]))
            raise ConfigError(
                f"{_where(folder)}{name} is {_shown(first[1])} in {first[0]}, but {_shown(second[1])} in {second[0]}; "
                f"pass {name}= to choose one",
                file=folder,
                field=name,
                found=[value for _, value in (first, second)],
            )


def _shown(value: TokenIds) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _where(folder: Path | None) -> str:
    return "" if folder is None else f"{folder}: "


def _tokenizer(folder: Path) -> Any:
    """The tokenizer in the decoder's folder; None if there is none. Raises TokenizerError if tokenizer.json cannot be read."""
    from vedcore.text import Tokenizer  # not needed to load a model

    if (folder / "tokenizer.json").is_file():
        return Tokenizer.from_pretrained(folder)
    with suppress(TokenizerError):  # older files, some of which are not read
        return Tokenizer.from_pretrained(folder)
    return None
