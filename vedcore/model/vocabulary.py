"""A decoder's vocabulary: changing its size, replacing its tokenizer, and a report on how a tokenizer fits some text.

The tensors of the vocabulary are those whose shapes depend on ``vocab_size``; plugins do not list them.
Shapes: V vocabulary size, D hidden size.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from vedcore.config import id_tuple
from vedcore.errors import ConfigError, foreign
from vedcore.model.seeding import seeded
from vedcore.model.token_ids import ID_NAMES
from vedcore.part import without_storage

if TYPE_CHECKING:
    from vedcore.text import Tokenizer

ROLES = ("bos", "cls", "eos", "sep", "unk", "pad", "mask")
"""The special tokens of a tokenizer."""

_SUBSTITUTES = {"bos": "cls", "cls": "bos", "eos": "sep", "sep": "eos"}
"""The role that replaces a role without a token: BERT's class token begins a text, and its separator ends it."""

_GENERATION_IDS = (
    "forced_bos_token_id",
    "forced_eos_token_id",
    "suppress_tokens",
    "begin_suppress_tokens",
    "bad_words_ids",
    "sequence_bias",
)


@dataclass(frozen=True, slots=True)
class Replacement:
    """The result of replacing a vocabulary.

    kept: the number of pieces whose vectors were kept. new: of pieces with random vectors. dropped: of removed pieces.
    unset: the fields of the generation config that named a dropped piece and are now None.
    """

    kept: int
    new: int
    dropped: int
    unset: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TokenizerReport:
    """How a tokenizer fits some lines of text.

    tokens: the number of tokens without special tokens. unknown_rate: the share of them that is the unknown token.
    lost: the characters that encoding and decoding loses, with their numbers, without spaces.
    mean, p95, longest: the numbers of tokens per line, with special tokens.
    """

    lines: int
    tokens: int
    unknown_rate: float
    lost: dict[str, int]
    mean: float
    p95: float
    longest: int


def tokenizer_report(tokenizer: Tokenizer, lines: Iterable[str]) -> TokenizerReport:
    """Encode and decode ``lines``, and report the results. Raises ConfigError if there are no lines."""
    lengths, unknown, tokens, lost = [], 0, 0, Counter[str]()
    for line in lines:
        ids = tokenizer.encode(line)
        lengths.append(len(ids))
        plain = tokenizer.encode(line, add_special_tokens=False)
        tokens += len(plain)
        unknown += plain.count(-1 if tokenizer.unk_token_id is None else tokenizer.unk_token_id)
        lost += Counter(line) - Counter(tokenizer.decode(ids, skip_special_tokens=True))
    if not lengths:
        raise ConfigError(
            "a report on a tokenizer needs at least one line of text",
            field="lines",
            expected="at least one line",
            found=0,
        )
    return TokenizerReport(
        lines=len(lengths),
        tokens=tokens,
        unknown_rate=unknown / max(tokens, 1),
        lost={character: count for character, count in lost.most_common() if not character.isspace()},
        mean=sum(lengths) / len(lengths),
        p95=float(np.percentile(lengths, 95)),
        longest=max(lengths),
    )


@dataclass(frozen=True, slots=True)
class NewVocabulary:
    """The changes to a decoder whose vocabulary was replaced.

    config: the decoder's new config. parameters: the tensors of the vocabulary, by their names in the decoder; they are new
    objects. is_new: whether all their rows are new, too.
    """

    config: Any
    parameters: dict[str, nn.Parameter]
    is_new: bool


def resize(decoder: Any, ids: Any, size: int, seed: int | torch.Generator | None) -> NewVocabulary:
    """Change the vocabulary of ``decoder`` to ``size`` tokens. The first tokens keep their vectors; added ones are random.

    ids: the model's config, with its token ids. Raises ConfigError, before anything changes, if one of the ids is not below
    ``size``, if the vocabulary does not fit the memory, or if the decoder's config has no ``vocab_size``.
    """
    _check_size(decoder, size)
    for name in ID_NAMES:
        for token in id_tuple(getattr(ids, name)):
            if token >= size:
                raise ConfigError(
                    f"a vocabulary of {size} tokens has no place for model.config.{name}, which is {token}",
                    field=name,
                    expected=f"an id below {size}",
                    found=token,
                )
    source = torch.arange(size)
    return _replace_rows(decoder, source.masked_fill(source >= decoder.sizes.vocab_size, -1), {}, seed)


@dataclass(frozen=True, slots=True)
class NewTokenizer:
    """The changes to a model whose tokenizer was replaced. ids: the token ids of the model's config, by their names."""

    vocabulary: NewVocabulary
    ids: dict[str, Any]
    generation_config: Any
    replacement: Replacement


def replace_tokenizer(
    decoder: Any,
    config: Any,
    generation_config: Any,
    old: Tokenizer,
    new: Tokenizer,
    seed: int | torch.Generator | None,
) -> NewTokenizer:
    """Replace the vocabulary of ``decoder``, which is that of the tokenizer ``old``, by that of ``new``.

    config, generation_config: the model's, with ids of the old vocabulary; they are not modified. Raises ConfigError, before
    anything changes, if ``old`` is not the decoder's tokenizer, an id of ``config`` has no counterpart in ``new``, or the
    vocabulary does not fit the memory.
    """
    old_vocabulary, new_vocabulary = _vocabulary_of("old", old), _vocabulary_of("new", new)
    _check_size(decoder, max(new_vocabulary.values()) + 1)
    largest, size = max(old_vocabulary.values()), decoder.sizes.vocab_size
    if largest >= size:
        raise ConfigError(
            f"the old tokenizer has ids up to {largest}, but the decoder's vocabulary has {size} tokens: it is not the "
            "decoder's tokenizer",
            field="old",
            expected=f"ids below {size}",
            found=largest,
        )
    source = torch.full((max(new_vocabulary.values()) + 1,), -1)
    for piece, token in new_vocabulary.items():
        source[token] = old_vocabulary.get(piece, -1)
    for role in reversed(ROLES):
        new_id, old_id = _id_of_role(new, role), _id_of_role(old, role)
        if new_id is not None and old_id is not None:
            source[new_id] = old_id
    new_ids = {old_id: new_vocabulary[piece] for piece, old_id in old_vocabulary.items() if piece in new_vocabulary}
    for role in reversed(ROLES):
        old_id, new_id = getattr(old, f"{role}_token_id"), _id_of_role(new, role)
        if new_id is not None and old_id is not None:
            new_ids[old_id] = new_id
    ids = _moved_ids(config, new_ids, new)
    fields, unset = _moved_fields(generation_config, new_ids)
    generation_config = generation_config.replace(**fields, **dict.fromkeys(ID_NAMES))
    vocabulary = _replace_rows(decoder, source, ids, seed)
    kept = int((source >= 0).sum())
    dropped = len(set(old_vocabulary.values()) - set(source.tolist()))
    replacement = Replacement(kept=kept, new=len(new_vocabulary) - kept, dropped=dropped, unset=tuple(unset))
    return NewTokenizer(vocabulary, ids, generation_config, replacement)


def _check_size(decoder: Any, size: int) -> None:
    """Raise ConfigError unless ``size`` tokens fit the memory. The system may kill a process that needs more than there is."""
    if type(size) is not int or size < 1:
        raise ConfigError(
            f"a vocabulary is a whole number of tokens, at least 1, got {size!r}",
            field="vocab_size",
            expected="a whole number, at least 1",
            found=size,
        )
    width = next(decoder.token_embedding.parameters()).shape[-1]
    needed, available = size * (4 * width + 8), _total_memory()  # a float32 row, and the old row's number
    if needed > available:
        raise ConfigError(
            f"a vocabulary of {size} tokens of {width} numbers takes {needed / 2**30:.0f} GiB of memory or more, and this "
            f"machine has {available / 2**30:.0f}: ask for fewer tokens (the decoder has {decoder.sizes.vocab_size})",
            field="vocab_size",
            expected=f"at most {available // (4 * width + 8)}",
            found=size,
        )


def _total_memory() -> int:
    """The machine's memory in bytes. If the system does not report it, a number larger than any memory."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 2**50
    return memory if memory > 0 else 2**50


def _vocabulary_of(which: str, tokenizer: Any) -> dict[str, int]:
    """The ids of a tokenizer by their pieces. Raises ConfigError unless ``tokenizer`` is a ``vedcore.Tokenizer``."""
    from vedcore.text import Tokenizer  # not needed to load a model

    if not isinstance(tokenizer, Tokenizer):
        raise ConfigError(
            f"the {which} tokenizer must be a vedcore.Tokenizer (Tokenizer.from_pretrained(folder)), got "
            f"{type(tokenizer).__name__}",
            field=which,
            expected="a vedcore.Tokenizer",
            found=type(tokenizer).__name__,
        )
    return tokenizer.get_vocab()


def _id_of_role(tokenizer: Tokenizer, role: str) -> int | None:
    """The id of the token with ``role``, or with the role that can replace it (``_SUBSTITUTES``)."""
    own: int | None = getattr(tokenizer, f"{role}_token_id")
    return getattr(tokenizer, f"{_SUBSTITUTES[role]}_token_id") if own is None and role in _SUBSTITUTES else own


def _moved_ids(config: Any, new_ids: Mapping[int, int], new: Tokenizer) -> dict[str, Any]:
    """The ids of a model's config in the new vocabulary. Unset ids become those of the new tokenizer.

    new_ids: the new id of each old id. Raises ConfigError for an id that ``new_ids`` does not have.
    """
    ids: dict[str, Any] = {}
    for name in ID_NAMES:
        value = getattr(config, name)
        if any(token not in new_ids for token in id_tuple(value)):
            raise ConfigError(
                f"model.config.{name} is {value}, but the new tokenizer has no counterpart: neither the old piece nor a "
                f"special token with this role; set one (tokenizer.{name.removesuffix('_id')} = ...), or set "
                f"model.config.{name} = None first",
                field=name,
                expected="a token of the new tokenizer",
                found=value,
            )
        role = name.removesuffix("_token_id")
        ids[name] = _moved(value, new_ids) if value is not None else _id_of_role(new, role) if role in ROLES else None
    return ids


def _moved_fields(generation_config: Any, new_ids: Mapping[int, int]) -> tuple[dict[str, Any], list[str]]:
    """The fields of a generation config that name tokens, in the new vocabulary, and the names of those that become None."""
    fields: dict[str, Any] = {}
    for name in _GENERATION_IDS:
        value = getattr(generation_config, name)
        if value is not None:
            try:
                fields[name] = _moved(value, new_ids)
            except KeyError:
                fields[name] = None
    return fields, [name for name, value in fields.items() if value is None]


def _moved(value: Any, new_ids: Mapping[int, int]) -> Any:
    """An id, or nested tuples of ids, in the new vocabulary. Raises KeyError for an id that is not in ``new_ids``."""
    if isinstance(value, tuple):
        return tuple(_moved(item, new_ids) for item in value)
    return new_ids[value] if isinstance(value, int) else value


def _replace_rows(
    decoder: Any, source: Tensor, ids: Mapping[str, Any], seed: int | torch.Generator | None
) -> NewVocabulary:
    """Replace row i of each tensor of the vocabulary by its row ``source[i]``, or by a random row if that is -1.

    source: (new V,) long. ids: the new token ids, for the fields that the decoder's own config has.
    """
    config = _config_of(decoder, len(source), ids)
    with without_storage():
        larger = type(decoder)(decoder.config.replace(vocab_size=decoder.sizes.vocab_size + 1))
        wanted = type(decoder)(config)
    if wanted.sizes.max_positions != decoder.sizes.max_positions:
        old_pad, new_pad = decoder.config.pad_token_id, config.pad_token_id
        raise ConfigError(
            f"{type(decoder).__name__} counts its positions from its padding id, {old_pad}: with {new_pad} instead, every "
            "token would get another position than in training. Make the new tokenizer with its padding token at "
            f"{old_pad}",
            field="pad_token_id",
            expected=old_pad,
            found=new_pad,
        )
    shapes = {name: p.shape for name, p in larger.named_parameters(remove_duplicate=False)}
    replaced: dict[int, nn.Parameter] = {}
    # torch raises an error if there is too little memory for the new tensors. The decoder has not changed yet.
    with foreign(ConfigError, f"a decoder of {len(source)} tokens", field="vocab_size"), seeded(seed):
        for name, old in list(decoder.named_parameters(remove_duplicate=False)):
            if name in shapes and shapes[name] != old.shape and id(old) not in replaced:
                replaced[id(old)] = _with_rows(old, source, decoder.sizes.seam.initializer_range)
    parameters = {name: replaced[id(p)] for name, p in decoder.named_parameters() if id(p) in replaced}
    wanted_modules = dict(wanted.named_modules())
    for path, module in decoder.named_modules():
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            if id(parameter) in replaced:
                setattr(module, name, replaced[id(parameter)])
        _copy_sizes(wanted_modules.get(path), module)
    decoder.sizes = replace(decoder.sizes, vocab_size=len(source), token_types=wanted.sizes.token_types)
    pad = getattr(decoder.token_embedding, "padding_idx", None)
    if pad is not None and source[pad] < 0:
        nn.init.zeros_(decoder.token_embedding.weight[pad].detach())
    return NewVocabulary(config, parameters, not bool((source >= 0).any()))


def _config_of(decoder: Any, size: int, ids: Mapping[str, Any]) -> Any:
    """The decoder's config for ``size`` tokens. ``ids`` replace those that the config has."""
    config = decoder.config
    if not hasattr(config, "vocab_size"):
        raise ConfigError(
            f"{type(config).__name__} has no field vocab_size, so the vocabulary cannot be resized", field="vocab_size"
        )
    given = {name: value for name, value in ids.items() if value is not None}
    fields = {name: value for name, value in given.items() if getattr(config, name, None) is not None}
    extra = {
        name: given[name] if value is not None and name in given else value for name, value in config.extra.items()
    }
    return config.replace(vocab_size=size, **fields, extra=extra)


def _with_rows(old: nn.Parameter, source: Tensor, std: float) -> nn.Parameter:
    """(V, ...) -> (new V, ...): the rows ``source`` of ``old``. New rows are normal with ``std``, new biases are zero."""
    fresh = torch.zeros(len(source), *old.shape[1:])
    rows = (fresh.normal_(std=std) if old.dim() > 1 else fresh).to(old)
    known = (source >= 0).to(old.device)
    rows[known] = old.detach()[source.to(old.device)[known]]
    return nn.Parameter(rows, requires_grad=old.requires_grad)


def _copy_sizes(source: nn.Module | None, module: nn.Module) -> None:
    """Copy the integer attributes (sizes, the padding id) and the buffers of ``source`` to ``module``, if the types agree."""
    if source is None or type(source) is not type(module):
        return
    for name, value in vars(source).items():
        if type(value) in (int, type(None)) and type(vars(module).get(name, "")) in (int, type(None)):
            setattr(module, name, value)
    for name, buffer in source.named_buffers(recurse=False):
        if not buffer.is_meta:
            setattr(module, name, buffer.to(getattr(module, name).device))
