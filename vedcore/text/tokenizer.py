"""The tokenizer: tokens in, text out.

B texts, T tokens of a text. Nothing that a call does is kept, so one tokenizer may serve many threads: padding and
truncation, which tokenizers keeps as state, are done here for each call.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import tokenizers
import torch

from vedcore.contract.types import Batch
from vedcore.errors import CheckpointNotFound, ConfigError, TokenizerError, foreign
from vedcore.storage.files import parse_json, read_json, staged, write_json
from vedcore.storage.hub import resolve
from vedcore.text import forms
from vedcore.text.forms import LARGEST_ID, LISTS, NAMES, content

_FILE, _SETTINGS, _OLD_MAP = "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"

_BYTE = re.compile("<0x..>", re.DOTALL)
_NO_LIMIT = 10**29  # transformers writes 10**30 for a model_max_length that is not set
# What transformers undoes for clean_up_tokenization_spaces, in its order.
_SPACES = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")

Ids = int | Sequence[int] | torch.Tensor | np.ndarray[Any, Any]
"""The tokens of one text."""


class _SpecialToken:
    """The text of a special token, or None. Assigning one that the vocabulary lacks raises TokenizerError."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, tokenizer: None, owner: type) -> _SpecialToken: ...
    @overload
    def __get__(self, tokenizer: Tokenizer, owner: type) -> str | None: ...
    def __get__(self, tokenizer: Tokenizer | None, owner: type) -> _SpecialToken | str | None:
        return self if tokenizer is None else tokenizer._special.get(self.name)

    def __set__(self, tokenizer: Tokenizer, token: str | None) -> None:
        tokenizer._set_special(self.name, token)


class _SpecialId:
    """The id of a special token, or None."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name.removesuffix("_id")

    @overload
    def __get__(self, tokenizer: None, owner: type) -> _SpecialId: ...
    @overload
    def __get__(self, tokenizer: Tokenizer, owner: type) -> int | None: ...
    def __get__(self, tokenizer: Tokenizer | None, owner: type) -> _SpecialId | int | None:
        if tokenizer is None:
            return self
        token = tokenizer._special.get(self.name)
        return None if token is None else tokenizer._id(token)


class Tokenizer:
    """Text <-> token ids, as a tokenizer.json and its tokenizer_config.json say."""

    bos_token = _SpecialToken()
    eos_token = _SpecialToken()
    unk_token = _SpecialToken()
    sep_token = _SpecialToken()
    pad_token = _SpecialToken()
    cls_token = _SpecialToken()
    mask_token = _SpecialToken()

    bos_token_id = _SpecialId()
    eos_token_id = _SpecialId()
    unk_token_id = _SpecialId()
    sep_token_id = _SpecialId()
    pad_token_id = _SpecialId()
    cls_token_id = _SpecialId()
    mask_token_id = _SpecialId()

    def __init__(
        self,
        data: bytes,
        settings: Mapping[str, Any] | None = None,
        *,
        where: str = _FILE,
        family: str | None = None,
    ) -> None:
        """Make a tokenizer of the bytes of a tokenizer.json and the fields of a tokenizer_config.json.

        family: a model type or a class of tokenizer, for the special tokens that the settings leave unsaid.
        Raises TokenizerError, with ``where`` in front.
        """
        try:
            stored = parse_json(data, where)
        except ConfigError as cause:
            raise TokenizerError(str(cause)) from cause
        self._settings = dict(settings or {})
        self._special: dict[str, str] = {}
        self._where = where
        self._stored = {name: stored.get(name) for name in ("truncation", "padding")}
        with foreign(TokenizerError, where):
            self._core: Any = tokenizers.Tokenizer.from_str(data.decode())
            self._core.no_truncation()
            self._core.no_padding()
            self._check_ids()
            self._read_settings(family)
            # Tables of our own: asking the library for an id takes a lock.
            self._ids: dict[str, int] = self._core.get_vocab(with_added_tokens=True)
        self._tokens = {number: token for token, number in self._ids.items()}
        self._bound = max(self._tokens) + 1
        self._ends_bytes = self._not_bytes() if _joins_bytes(stored.get("decoder")) else None

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str], *, revision: str | None = None) -> Tokenizer:
        """The tokenizer of a folder or a hub id: of its tokenizer.json, else of the vocabulary files of an older form.

        Those are vocab.json and merges.txt, vocab.txt, or sentencepiece.bpe.model, read as tokenizer_class says, else
        as the files there suggest. Raises CheckpointNotFound where there is no folder, else TokenizerError: the file, and
        what is wrong.
        """
        path = resolve(name, revision=revision, weights=False)
        try:
            settings, model = _optional(path / _SETTINGS), _optional(path / "config.json")
            old = _optional(path / _OLD_MAP)
            settings = {**old, **settings} if "added_tokens_decoder" in settings else {**settings, **old}
            decoder = model.get("decoder")
            family = (decoder if isinstance(decoder, dict) else model).get("model_type")
            family = family if isinstance(family, str) else None
            where = str(path / _FILE)
            if (path / _FILE).is_file():
                with foreign(TokenizerError, where):
                    data = (path / _FILE).read_bytes()
            else:
                core, settings, where = forms.build(path, settings, family)
                with foreign(TokenizerError, where):
                    data = core.to_str().encode()
        except (ConfigError, CheckpointNotFound) as cause:
            raise TokenizerError(str(cause)) from cause
        return cls(data, settings, where=where, family=family)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write tokenizer.json and tokenizer_config.json into ``folder``. Raises SaveError, with the folder as it was."""
        with foreign(TokenizerError, self._where):
            data = json.loads(self._core.to_str())
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", **self._settings}
        for name in NAMES:
            token = self._special.get(name)
            if token is not None and content(settings.get(name)) != token:
                settings[name] = token
            elif token is None:
                settings.pop(name, None)
        for name in NAMES:
            if isinstance(settings.get(name), dict):  # a special_tokens_map.json leaves the type out
                settings[name] = {"__type": "AddedToken", **settings[name]}
        # What these files said is in the settings now; left beside them they could come to say something else.
        with staged(folder, replaces=(_OLD_MAP, "added_tokens.json")) as stage:
            text = json.dumps({**data, **self._stored}, indent=2, ensure_ascii=False)
            (stage / _FILE).write_text(text, encoding="utf-8")
            write_json(stage / _SETTINGS, settings)

    # What a tokenizer is.

    @property
    def vocab_size(self) -> int:
        """The size of the vocabulary without added tokens; ``len(tokenizer)`` counts them too."""
        return int(self._core.get_vocab_size(with_added_tokens=False))

    def __len__(self) -> int:
        """The number of tokens, added ones too."""
        return len(self._ids)

    @property
    def all_special_tokens(self) -> list[str]:
        """Every special token, each once."""
        return list(dict.fromkeys([*self._special.values(), *self._more]))

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of ``all_special_tokens``."""
        return [self._id(token) for token in self.all_special_tokens]

    @property
    def model_max_length(self) -> int | None:
        """The most tokens that the model takes, or None where nothing is said."""
        return self._max_length

    def get_vocab(self) -> dict[str, int]:
        """Every token and its id."""
        return dict(self._ids)

    def convert_tokens_to_ids(self, tokens: str | Sequence[str]) -> Any:
        """A token -> its id, a list -> a list; one that is unknown becomes ``unk_token_id``."""
        if isinstance(tokens, str):
            return self._ids.get(tokens, self.unk_token_id)
        return [self._ids.get(token, self.unk_token_id) for token in tokens]

    def convert_ids_to_tokens(self, ids: Ids) -> Any:
        """An id -> its token, a list -> a list. Raises TokenizerError for an id outside the vocabulary."""
        numbers = self._numbers(ids)
        tokens = [self._tokens.get(number) for number in numbers]
        return tokens[0] if isinstance(ids, int) or getattr(ids, "ndim", 1) == 0 else tokens

    # Text to tokens.

    def __call__(
        self,
        text: str | Sequence[str],
        *,
        return_tensors: Literal["pt", "np"] | None = None,
        padding: bool | Literal["longest", "max_length"] = False,
        truncation: bool = False,
        max_length: int | None = None,
        add_special_tokens: bool = True,
    ) -> Batch:
        """A text or B of them -> a Batch of input_ids and attention_mask, lists or (B, T) int64.

        padding: True or "longest" to the longest of the batch, "max_length" to ``max_length``; truncation to the same.
        Without ``max_length`` it is ``model_max_length``. Raises TokenizerError.
        """
        if return_tensors not in (None, "pt", "np"):
            raise TokenizerError(f"return_tensors must be 'pt', 'np' or None, got {return_tensors!r}")
        if padding not in (False, True, "longest", "max_length"):
            raise TokenizerError(f"padding must be False, True, 'longest' or 'max_length', got {padding!r}")
        limit = self._limit(max_length, truncation, padding)
        texts: Any = text if isinstance(text, (list, tuple)) else [text]
        rows = [self._encode(item, limit if truncation else None, add_special_tokens) for item in texts]
        masks = [[1] * len(row) for row in rows]
        if padding:
            width = limit if padding == "max_length" else max(map(len, rows), default=0)
            rows = [self._padded(row, width, self._pad_id()) for row in rows]
            masks = [self._padded(mask, width, 0) for mask in masks]
        if return_tensors is None:
            single = isinstance(text, str)
            return Batch(input_ids=rows[0] if single else rows, attention_mask=masks[0] if single else masks)
        lengths = sorted({len(row) for row in rows})
        if len(lengths) != 1:
            found = f"lengths {', '.join(map(str, lengths))}" if lengths else "an empty list"
            raise TokenizerError(
                f"a tensor needs texts of one length, found {found}; pass padding=True (and truncation=True)"
            )
        arrays = {"input_ids": np.array(rows, np.int64), "attention_mask": np.array(masks, np.int64)}
        if return_tensors == "np":
            return Batch(arrays)
        return Batch({name: torch.from_numpy(array) for name, array in arrays.items()})

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """A text -> T ids. Raises TokenizerError."""
        return self._encode(text, None, add_special_tokens)

    def _encode(self, text: str, limit: int | None, add_special_tokens: bool) -> list[int]:
        # One text at a time: the library's batches start threads, which a forked worker process cannot use.
        if not isinstance(text, str):
            raise TokenizerError(f"expected a text or a list of texts, found {type(text).__name__}")
        with foreign(TokenizerError, f"{self._where}: encoding a text of {len(text)} characters"):
            if limit is None:
                return list(self._core.encode(text, add_special_tokens=add_special_tokens).ids)
            kept = limit - (self._core.num_special_tokens_to_add(False) if add_special_tokens else 0)
            if kept < 0:
                raise TokenizerError(f"max_length {limit} leaves no room for the special tokens ({limit - kept})")
            encoding = self._core.encode(text, add_special_tokens=False)
            encoding.truncate(kept, direction=self._side("truncation_side"))
            return list(self._core.post_process(encoding, None, add_special_tokens).ids)

    def _limit(self, max_length: int | None, truncation: bool, padding: bool | str) -> int:
        if max_length is not None and (type(max_length) is not int or max_length < 1):
            raise TokenizerError(f"max_length must be an int of at least 1, got {max_length!r}")
        if type(truncation) is not bool:
            raise TokenizerError(f"truncation must be True or False, got {truncation!r}")
        if not truncation and padding != "max_length":
            if max_length is not None:
                raise TokenizerError("max_length is read with truncation=True or padding='max_length' only")
            return 0
        limit = max_length if max_length is not None else self._max_length
        if limit is None:
            raise TokenizerError("no max_length given, and the tokenizer states no model_max_length")
        return limit

    def _pad_id(self) -> int:
        if self.pad_token_id is None:
            raise TokenizerError("padding needs a pad token; set tokenizer.pad_token = tokenizer.eos_token, say")
        return self.pad_token_id

    def _padded(self, row: list[int], width: int, value: int) -> list[int]:
        filling = [value] * (width - len(row))
        return row + filling if self._side("padding_side") == "right" else filling + row

    def _side(self, name: str) -> str:
        side: str = self._settings.get(name, "right")
        return side

    # Tokens to text.

    @property
    def cleans_spaces(self) -> bool:
        """Whether decoding takes out the spaces before punctuation, as ``clean_up_tokenization_spaces`` asks."""
        return self._clean

    def without_open_bytes(self, ids: Sequence[int]) -> Sequence[int]:
        """``ids`` but for the bytes at their end where bytes are decoded a run at a time: the next may change them all."""
        end = len(ids)
        while end and self._ends_bytes is not None and ids[end - 1] not in self._ends_bytes:
            end -= 1
        return ids[:end]

    def decode(self, ids: Ids, skip_special_tokens: bool = False) -> str:
        """T ids -> a text. Raises TokenizerError for an id outside the vocabulary."""
        with foreign(TokenizerError, f"{self._where}: decoding"):
            text: str = self._core.decode(self._numbers(ids), skip_special_tokens=skip_special_tokens)
        if self._clean:
            for space in _SPACES:
                text = text.replace(space, space.strip())
        return text

    def batch_decode(
        self,
        ids: Iterable[Ids] | torch.Tensor | np.ndarray[Any, Any],
        skip_special_tokens: bool = False,
    ) -> list[str]:
        """(B, T) ids, or B lists of them -> B texts. Raises TokenizerError for an id outside the vocabulary."""
        if isinstance(ids, torch.Tensor):
            ids = ids.tolist()  # one copy from the device, not one a row
        if not isinstance(ids, Iterable):
            raise TokenizerError(f"expected a list of lists of ids, found {type(ids).__name__}")
        return [self.decode(row, skip_special_tokens) for row in ids]

    def _numbers(self, ids: Ids) -> list[int]:
        plain: Any = ids.tolist() if isinstance(ids, (torch.Tensor, np.ndarray, np.generic)) else ids
        if isinstance(plain, int):
            plain = [plain]
        if not isinstance(plain, (list, tuple)):
            raise TokenizerError(f"expected token ids, found {type(ids).__name__}")
        numbers: list[Any] = [item.item() if isinstance(item, (torch.Tensor, np.generic)) else item for item in plain]
        for number in numbers:
            if type(number) is not int:
                raise TokenizerError(f"expected token ids (ints), found {type(number).__name__}: {str(number)[:40]}")
            if not 0 <= number < self._bound:
                raise TokenizerError(
                    f"token id {number} is outside the vocabulary of {len(self)} tokens (0 to {self._bound - 1})"
                )
        return numbers

    def _not_bytes(self) -> frozenset[int]:
        """The tokens that end a run of bytes: a special one that is skipped does not."""
        special = {number for number, token in self._core.get_added_tokens_decoder().items() if token.special}
        return frozenset(n for n, token in self._tokens.items() if n not in special and not _BYTE.fullmatch(token))

    # Special tokens.

    def _id(self, token: str) -> int:
        return self._ids[token]

    def _set_special(self, name: str, token: str | None) -> None:
        if token is not None and token not in self._ids:
            raise TokenizerError(f"{name} {token!r} is not among the {len(self)} tokens of {self._where}")
        self._special = {n: t for n, t in self._special.items() if n != name}
        if token is not None:
            self._special = {n: t for n in NAMES if (t := {**self._special, name: token}.get(n)) is not None}

    def _check_ids(self) -> None:
        largest = max(self._core.get_vocab(with_added_tokens=True).values(), default=-1)
        if largest < 0:
            raise TokenizerError(f"{self._where}: expected a vocabulary, found no token")
        if largest >= LARGEST_ID:
            raise TokenizerError(f"{self._where}: token id {largest} is not below {LARGEST_ID}")

    def _read_settings(self, family: str | None) -> None:
        settings, where = self._settings, os.path.join(os.path.dirname(self._where), _SETTINGS)
        length = settings.get("model_max_length")
        if length is not None and (type(length) not in (int, float) or length < 1):
            raise TokenizerError(f"{where}: model_max_length must be an int of at least 1, got {length!r}")
        self._max_length = int(length) if length is not None and length < _NO_LIMIT else None
        for name in ("padding_side", "truncation_side"):
            if settings.get(name, "right") not in ("left", "right"):
                raise TokenizerError(f"{where}: {name} must be 'left' or 'right', got {settings[name]!r}")
        is_bpe = type(self._core.model).__name__ == "BPE"
        self._clean = settings.get("clean_up_tokenization_spaces") is True and not is_bpe

        named = {name: settings[name] for name in NAMES if settings.get(name) is not None}
        listed = [token for name in LISTS for token in _listed(settings.get(name), f"{where}: {name}")]
        for name, value in named.items():
            if not content(value):
                raise TokenizerError(f"{where}: {name} must be a string or an AddedToken, got {value!r}")
        self._mark_special([*_by_id(settings.get("added_tokens_decoder")), *named.values(), *listed])

        usual: dict[str, str] = {}
        for key in (settings.get("tokenizer_class"), family):
            usual = usual or forms.SPECIAL.get(forms.plain_name(key), {})
        unsaid = {
            name: token
            for name, token in usual.items()
            if name not in settings and self._core.token_to_id(token) is not None
        }
        self._mark_special(list(unsaid.values()))
        said = {name: content(value) for name, value in named.items()}
        self._special = {n: t for n in NAMES if (t := said.get(n) or unsaid.get(n)) is not None}
        self._more = [token for value in listed if (token := content(value)) is not None]

    def _mark_special(self, values: list[Any]) -> None:
        """Make each a special token; one that the vocabulary lacks is added behind the others."""
        known = {token.content for token in self._core.get_added_tokens_decoder().values() if token.special}
        for value in values:
            token = content(value)
            if token and token not in known:
                self._core.add_special_tokens([forms.special_token(value)])
                known.add(token)


def _joins_bytes(decoder: Any) -> bool:
    """Whether a decoder of a tokenizer.json makes a text of each run of byte tokens: where one is wrong, all of it is."""
    if not isinstance(decoder, dict):
        return False
    return decoder.get("type") == "ByteFallback" or any(map(_joins_bytes, decoder.get("decoders") or ()))


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _listed(value: Any, where: str) -> list[Any]:
    values = list(value.values()) if isinstance(value, dict) else value
    if values is None:
        return []
    if not isinstance(values, list) or not all(content(item) for item in values):
        raise TokenizerError(f"{where} must be a list of tokens, got {value!r}")
    return values


def _by_id(table: Any) -> list[Any]:
    """The special tokens of an added_tokens_decoder, by their ids."""
    rows = table.items() if isinstance(table, dict) else ()
    special = [(int(k), v) for k, v in rows if k.isdecimal() and isinstance(v, dict) and v.get("special") is True]
    return [value for _, value in sorted(special, key=lambda row: row[0])]
