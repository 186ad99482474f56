"""A decoder's vocabulary: another size, another tokenizer, and how well a tokenizer fits a sample of text.

The tensors of the vocabulary are those whose shapes follow from ``vocab_size``; no plugin lists them.
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
_LIKE = {"bos": "cls", "cls": "bos", "eos": "sep", "sep": "eos"}
"""The role that replaces one for which a tokenizer has no token: BERT's class token begins, its separator ends."""

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
    """How a vocabulary changed. kept: pieces whose vectors were kept. new: pieces that start random. dropped: old pieces.

    unset: fields of the generation config that are unset now, because they named a dropped piece.
    """

    kept: int
    new: int
    dropped: int
    unset: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TokenizerReport:
    """How a tokenizer fits some lines of text.

    unknown_rate: the share of tokens that are the unknown token. lost: how often each character is missing after a round
    trip through ids, except spaces. mean, p95, longest: tokens of a line, special ones included.
    """

    lines: int
    tokens: int
    unknown_rate: float
    lost: dict[str, int]
    mean: float
    p95: float
    longest: int


def tokenizer_report(tokenizer: Tokenizer, lines: Iterable[str]) -> TokenizerReport:
    """How ``tokenizer`` fits ``lines``. Raises ConfigError if there are none."""
    lengths, unknown, tokens, lost = [], 0, 0, Counter[str]()
    for line in lines:
        ids = tokenizer.encode(line)
        lengths.append(len(ids))
        plain = tokenizer.encode(line, add_special_tokens=False)
        tokens += len(plain)
        unknown += plain.count(-1 if tokenizer.unk_token_id is None else tokenizer.unk_token_id)
        lost += Counter(line) - Counter(tokenizer.decode(ids, skip_special_tokens=True))
    if not lengths:
        raise ConfigError("a report on a tokenizer needs at least one line of text", field="lines")
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
    """A decoder after its vocabulary was replaced.

    config: of the decoder. parameters: the tensors of the vocabulary by their names in the decoder; all are new. is_new:
    none of their rows comes from the old ones.
    """

    config: Any
    parameters: dict[str, nn.Parameter]
    is_new: bool


def resize(decoder: Any, ids: Any, size: int, seed: int | torch.Generator | None) -> NewVocabulary:
    """Give ``decoder`` ``size`` tokens: the first ones stay, those after the old end start random.

    ids: the model's config, with its token ids. Raises ConfigError if one of them is beyond the new end, the machine has no
    memory for so many tokens, or the decoder's config has no ``vocab_size``.
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
    return _refit(decoder, source.masked_fill(source >= decoder.sizes.vocab_size, -1), {}, seed)


@dataclass(frozen=True, slots=True)
class NewTokenizer:
    """What follows from another tokenizer: the new vocabulary, token ids by name, and the generation config."""

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
    """Give ``decoder`` the vocabulary of ``new`` in place of that of ``old``.

    config, generation_config: the model's, with ids of the old vocabulary. Raises ConfigError before anything is changed.
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
        mine, theirs = _of_role(new, role), _of_role(old, role)
        if mine is not None and theirs is not None:
            source[mine] = theirs
    moves = {old_id: new_vocabulary[piece] for piece, old_id in old_vocabulary.items() if piece in new_vocabulary}
    for role in reversed(ROLES):
        theirs, mine = getattr(old, f"{role}_token_id"), _of_role(new, role)
        if mine is not None and theirs is not None:
            moves[theirs] = mine
    ids = _moved_ids(config, moves, new)
    fields, unset = _moved_fields(generation_config, moves)
    generation_config = generation_config.replace(**fields, **dict.fromkeys(ID_NAMES))
    vocabulary = _refit(decoder, source, ids, seed)
    kept = int((source >= 0).sum())
    dropped = len(set(old_vocabulary.values()) - set(source.tolist()))
    replacement = Replacement(kept=kept, new=len(new_vocabulary) - kept, dropped=dropped, unset=tuple(unset))
    return NewTokenizer(vocabulary, ids, generation_config, replacement)


def _check_size(decoder: Any, size: int) -> None:
    """Raises ConfigError unless there can be ``size`` tokens. Systems end a process that uses more memory than there is."""
    if type(size) is not int or size < 1:
        raise ConfigError(
            f"a vocabulary is a whole number of tokens, at least 1, got {size!r}",
            field="vocab_size",
            expected="a whole number, at least 1",
            found=size,
        )
    width = next(decoder.token_embedding.parameters()).shape[-1]
    needed, there = size * (4 * width + 8), _memory()  # a float32 row, and the number of the row that it was
    if needed > there:
        raise ConfigError(
            f"a vocabulary of {size} tokens of {width} numbers takes {needed / 2**30:.0f} GiB of memory or more, and this "
            f"machine has {there / 2**30:.0f}: ask for fewer tokens (the decoder has {decoder.sizes.vocab_size})",
            field="vocab_size",
            found=size,
        )


def _memory() -> int:
    """Bytes of memory of this machine; more than any machine has if the system does not say."""
    try:
        found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 2**50
    return found if found > 0 else 2**50


def _vocabulary_of(which: str, tokenizer: Any) -> dict[str, int]:
    """The ids of the pieces of ``tokenizer``. Raises ConfigError if it is not a tokenizer of vedcore."""
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


def _of_role(tokenizer: Tokenizer, role: str) -> int | None:
    """The id of the token with this ``role``, or of the token that replaces it."""
    own: int | None = getattr(tokenizer, f"{role}_token_id")
    return getattr(tokenizer, f"{_LIKE[role]}_token_id") if own is None and role in _LIKE else own


def _moved_ids(config: Any, places: Mapping[int, int], new: Tokenizer) -> dict[str, Any]:
    """The ids of a model's config in the new vocabulary. Ids that are not set come from the new tokenizer."""
    ids: dict[str, Any] = {}
    for name in ID_NAMES:
        value = getattr(config, name)
        missing = [token for token in id_tuple(value) if token not in places]
        if missing:
            raise ConfigError(
                f"model.config.{name} is {value}, and nothing in the new tokenizer plays that part: it has neither the old "
                f"piece nor a special token for its role; set one (tokenizer.{name.removesuffix('_id')} = ...), or set "
                f"model.config.{name} = None first",
                field=name,
                found=value,
            )
        role = name.removesuffix("_token_id")
        ids[name] = _moved(value, places) if value is not None else _of_role(new, role) if role in ROLES else None
    return ids


def _moved_fields(generation_config: Any, places: Mapping[int, int]) -> tuple[dict[str, Any], list[str]]:
    """The fields of a generation config that name tokens, in the new vocabulary; and those that name a dropped piece."""
    fields: dict[str, Any] = {}
    for name in _GENERATION_IDS:
        value = getattr(generation_config, name)
        if value is not None:
            try:
                fields[name] = _moved(value, places)
            except KeyError:
                fields[name] = None
    return fields, [name for name, value in fields.items() if value is None]


def _moved(value: Any, places: Mapping[int, int]) -> Any:
    """Ids in the new vocabulary, also in nested tuples. Raises KeyError for an id that it does not have."""
    if isinstance(value, tuple):
        return tuple(_moved(item, places) for item in value)
    return places[value] if isinstance(value, int) else value


def _refit(decoder: Any, source: Tensor, ids: Mapping[str, Any], seed: int | torch.Generator | None) -> NewVocabulary:
    """Row i of each tensor of the vocabulary becomes its row ``source[i]``, or a new one if that is -1.

    ids: token ids for the fields of the decoder's own config that are set.
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
    refitted: dict[int, nn.Parameter] = {}
    # Too little memory for the new tables is an error of torch's; the decoder has not changed yet.
    with foreign(ConfigError, f"a decoder of {len(source)} tokens", field="vocab_size"), seeded(seed):
        for name, old in list(decoder.named_parameters(remove_duplicate=False)):
            if name in shapes and shapes[name] != old.shape and id(old) not in refitted:
                refitted[id(old)] = _with_rows(old, source, decoder.sizes.seam.initializer_range)
    parameters = {name: refitted[id(p)] for name, p in decoder.named_parameters() if id(p) in refitted}
    like = dict(wanted.named_modules())
    for path, module in decoder.named_modules():
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            if id(parameter) in refitted:
                setattr(module, name, refitted[id(parameter)])
        _take_sizes(module, like.get(path))
    decoder.sizes = replace(decoder.sizes, vocab_size=len(source), token_types=wanted.sizes.token_types)
    pad = getattr(decoder.token_embedding, "padding_idx", None)
    if pad is not None and source[pad] < 0:
        nn.init.zeros_(decoder.token_embedding.weight[pad].detach())
    return NewVocabulary(config, parameters, not bool((source >= 0).any()))


def _config_of(decoder: Any, size: int, ids: Mapping[str, Any]) -> Any:
    """The decoder's config for ``size`` tokens, with those of ``ids`` that it has set."""
    config = decoder.config
    if not hasattr(config, "vocab_size"):
        raise ConfigError(
            f"{type(config).__name__} has no vocab_size, by which a vocabulary could be resized", field="vocab_size"
        )
    given = {name: value for name, value in ids.items() if value is not None}
    fields = {name: value for name, value in given.items() if getattr(config, name, None) is not None}
    extra = {
        name: given[name] if value is not None and name in given else value for name, value in config.extra.items()
    }
    return config.replace(vocab_size=size, **fields, extra=extra)


def _with_rows(old: nn.Parameter, source: Tensor, std: float) -> nn.Parameter:
    """(V, ...) -> (new V, ...): the rows ``source``; a new row is normal with ``std``, a new bias zero."""
    fresh = torch.zeros(len(source), *old.shape[1:])
    rows = (fresh.normal_(std=std) if old.dim() > 1 else fresh).to(old)
    known = (source >= 0).to(old.device)
    rows[known] = old.detach()[source.to(old.device)[known]]
    return nn.Parameter(rows, requires_grad=old.requires_grad)


def _take_sizes(module: nn.Module, like: nn.Module | None) -> None:
    """The whole numbers that ``module`` keeps (sizes, the padding id), and its constant tables, as ``like`` has them."""
    if like is None or type(like) is not type(module):
        return
    for name, value in vars(like).items():
        if type(value) in (int, type(None)) and type(vars(module).get(name, "")) in (int, type(None)):
            setattr(module, name, value)
    for name, buffer in like.named_buffers(recurse=False):
        if not buffer.is_meta:
            setattr(module, name, buffer.to(getattr(module, name).device))
