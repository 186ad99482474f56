"""The tokenizer: text to token ids and back.

B texts, T tokens of a text. A call changes no state, so threads can share a tokenizer. The tokenizers library keeps
padding and truncation as state; here each call does them itself.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, overload

import numpy as np
import tokenizers
import torch

from vedcore.contract.types import Batch
from vedcore.errors import ConfigError, TokenizerError, foreign
from vedcore.storage.files import parse_json
from vedcore.storage.hub import resolve
from vedcore.text.characters import check_characters
from vedcore.text.files import (
    SETTINGS_FILE,
    TOKENIZER_FILE,
    as_tokenizer_error,
    read_tokenizer_files,
    write_tokenizer_files,
)
from vedcore.text.ids import LARGEST_ID, Ids, as_id_list
from vedcore.text.new_pieces import add_pieces, pieces_of
from vedcore.text.settings import check_settings
from vedcore.text.special_tokens import NAMES, mark_special, special_entries, special_tokens_of_class, token_text

_BYTE = re.compile("<0x..>", re.DOTALL)
# The replacements of transformers for clean_up_tokenization_spaces, in its order.
_SPACES = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")


class _SpecialToken:
    """The text of a special token, or None. Assigning a token outside the vocabulary raises TokenizerError."""

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
        return None if token is None else tokenizer._ids[token]


class Tokenizer:
    """Text <-> token ids, by a tokenizer.json and its tokenizer_config.json."""

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
        where: str = TOKENIZER_FILE,
        family: str | None = None,
    ) -> None:
        """Build a tokenizer from the bytes of a tokenizer.json and the fields of a tokenizer_config.json.

        where: the path of the file, for error messages. family: a model type or a tokenizer class, for the special tokens
        that the settings leave to it. Raises TokenizerError.
        """
        try:
            stored = parse_json(data, where)
        except ConfigError as error:
            raise as_tokenizer_error(error) from error
        self._fields = dict(settings or {})
        self._where = where
        self._stored = {name: stored.get(name) for name in ("truncation", "padding")}
        with foreign(TokenizerError, where, file=where):
            self._core: Any = tokenizers.Tokenizer.from_str(data.decode())
            self._core.no_truncation()
            self._core.no_padding()
            self._check_ids()
            self._settings = check_settings(self._fields, os.path.join(os.path.dirname(where), SETTINGS_FILE))
            self._special = self._add_special_tokens(family)
            # Own tables: the library takes a lock to look up an id.
            self._ids: dict[str, int] = self._core.get_vocab(with_added_tokens=True)
        self._tokens = {number: token for token, number in self._ids.items()}
        self._bound = max(self._tokens) + 1
        self._cleans_spaces = self._settings.cleans_spaces and type(self._core.model).__name__ != "BPE"
        self._ends_bytes = self._tokens_that_end_bytes() if _joins_bytes(stored.get("decoder")) else None

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str], *, revision: str | None = None) -> Tokenizer:
        """The tokenizer of a folder or a hub id: from tokenizer.json, else from the vocabulary files of an older format.

        Those are vocab.json and merges.txt, vocab.txt, or sentencepiece.bpe.model. tokenizer_class says how they are
        read; without it, the model type or the files do. Raises CheckpointNotFound if there is no such folder, and
        TokenizerError, which names the file and what is wrong, for everything else.
        """
        files = read_tokenizer_files(resolve(name, revision=revision, weights=False))
        return cls(files.data, files.settings, where=files.where, family=files.family)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write tokenizer.json and tokenizer_config.json into ``folder``. Raises SaveError and leaves the folder as it was."""
        write_tokenizer_files(folder, self._data(), self._fields, self._special)

    def _data(self) -> dict[str, Any]:
        """The content of a tokenizer.json."""
        with foreign(TokenizerError, self._where, file=self._where):
            return {**json.loads(self._core.to_str()), **self._stored}

    def with_characters(self, characters: str) -> Tokenizer:
        """This tokenizer with tokens for those of ``characters`` that it cannot write; itself if it can write all of them.

        The new ids follow all others, and texts without these characters keep their ids. Raises ConfigError for a character
        that cannot have a token, and TokenizerError if the tokenizer removes or replaces a character before it looks for
        its token, or only knows whole words.
        """
        new = [character for character in check_characters(characters) if not self._writes(character)]
        if not new:
            return self
        data = self._data()
        add_pieces(data, (p for c in new for p in pieces_of(data["model"], c) if p not in self._ids))
        grown = Tokenizer(json.dumps(data).encode(), self._fields, where=self._where)
        grown._special = dict(self._special)
        for character in new:
            if not grown._writes(character):
                raise TokenizerError(
                    f"{self._where}: the tokenizer cannot get the character {character!r}: it removes or replaces it, or it "
                    "knows whole words only; use another tokenizer (tokenizer in a recipe)",
                    file=self._where,
                    field="add_characters",
                    found=character,
                )
        return grown

    def _writes(self, character: str) -> bool:
        """Whether a character survives encoding and decoding, at the beginning of a word and inside."""
        for text in (character, character * 2):
            ids = self.encode(text, add_special_tokens=False)
            if self.unk_token_id in ids or self.decode(ids).strip() != text:
                return False
        return True

    # Properties.

    @property
    def vocab_size(self) -> int:
        """The size of the vocabulary without added tokens; ``len(tokenizer)`` includes them."""
        return int(self._core.get_vocab_size(with_added_tokens=False))

    def __len__(self) -> int:
        """The number of tokens, including added tokens."""
        return len(self._ids)

    @property
    def all_special_tokens(self) -> list[str]:
        """Every special token, each once."""
        listed = (text for value in self._settings.listed if (text := token_text(value)) is not None)
        return list(dict.fromkeys([*self._special.values(), *listed]))

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of ``all_special_tokens``."""
        return [self._ids[token] for token in self.all_special_tokens]

    @property
    def model_max_length(self) -> int | None:
        """The largest number of tokens that the model accepts, or None if the files do not state it."""
        return self._settings.model_max_length

    def get_vocab(self) -> dict[str, int]:
        """Every token and its id."""
        return dict(self._ids)

    def convert_tokens_to_ids(self, tokens: str | Sequence[str]) -> Any:
        """A token -> its id, a list -> a list. An unknown token becomes ``unk_token_id``."""
        if isinstance(tokens, str):
            return self._ids.get(tokens, self.unk_token_id)
        return [self._ids.get(token, self.unk_token_id) for token in tokens]

    def convert_ids_to_tokens(self, ids: Ids) -> Any:
        """An id -> its token, a list -> a list. Raises TokenizerError for an id outside the vocabulary."""
        tokens = [self._tokens.get(number) for number in self._id_list(ids)]
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
        """One text or B texts -> a Batch of input_ids and attention_mask, lists or (B, T) int64.

        padding: True or "longest" pads to the longest text of the batch, "max_length" to ``max_length``. truncation: cut
        texts to ``max_length``, which is ``model_max_length`` by default. Raises TokenizerError.
        """
        if return_tensors not in (None, "pt", "np"):
            raise _bad_argument("return_tensors", "'pt', 'np' or None", return_tensors)
        if padding not in (False, True, "longest", "max_length"):
            raise _bad_argument("padding", "False, True, 'longest' or 'max_length'", padding)
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
                f"a tensor needs texts of equal length, found {found}; pass padding=True (and truncation=True)",
                field="padding",
                expected="equal lengths",
                found=lengths,
            )
        arrays = {"input_ids": np.array(rows, np.int64), "attention_mask": np.array(masks, np.int64)}
        if return_tensors == "np":
            return Batch(arrays)
        return Batch({name: torch.from_numpy(array) for name, array in arrays.items()})

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """A text -> T ids. Raises TokenizerError."""
        return self._encode(text, None, add_special_tokens)

    def _encode(self, text: str, limit: int | None, add_special_tokens: bool) -> list[int]:
        # One text at a time: the library starts threads for a batch, and a forked worker process cannot use them.
        if not isinstance(text, str):
            found = type(text).__name__
            raise TokenizerError(f"expected a text or a list of texts, found {found}", expected="text", found=found)
        with foreign(TokenizerError, f"{self._where}: encoding a text of {len(text)} characters", file=self._where):
            if limit is None:
                return list(self._core.encode(text, add_special_tokens=add_special_tokens).ids)
            special = self._core.num_special_tokens_to_add(False) if add_special_tokens else 0
            if limit < special:
                raise TokenizerError(
                    f"max_length {limit} is less than the number of special tokens ({special})",
                    field="max_length",
                    expected=f"at least {special}",
                    found=limit,
                )
            encoding = self._core.encode(text, add_special_tokens=False)
            encoding.truncate(limit - special, direction=self._settings.truncation_side)
            return list(self._core.post_process(encoding, None, add_special_tokens).ids)

    def _limit(self, max_length: int | None, truncation: bool, padding: bool | str) -> int:
        if max_length is not None and (type(max_length) is not int or max_length < 1):
            raise _bad_argument("max_length", "an int of at least 1", max_length)
        if type(truncation) is not bool:
            raise _bad_argument("truncation", "True or False", truncation)
        if not truncation and padding != "max_length":
            if max_length is not None:
                raise TokenizerError(
                    "max_length has an effect only with truncation=True or padding='max_length'", field="max_length"
                )
            return 0
        limit = max_length if max_length is not None else self._settings.model_max_length
        if limit is None:
            raise TokenizerError(
                "max_length is not given, and the tokenizer has no model_max_length; pass max_length",
                field="max_length",
                expected="an int",
            )
        return limit

    def _pad_id(self) -> int:
        if self.pad_token_id is None:
            raise TokenizerError(
                "padding needs a pad token; set tokenizer.pad_token, for example to tokenizer.eos_token",
                field="pad_token",
                expected="a token",
            )
        return self.pad_token_id

    def _padded(self, row: list[int], width: int, value: int) -> list[int]:
        filling = [value] * (width - len(row))
        return row + filling if self._settings.padding_side == "right" else filling + row

    # Tokens to text.

    @property
    def cleans_spaces(self) -> bool:
        """Whether decoding removes the spaces before punctuation: ``clean_up_tokenization_spaces``, except with BPE."""
        return self._cleans_spaces

    def without_open_bytes(self, ids: Sequence[int]) -> Sequence[int]:
        """``ids`` without the byte tokens at their end, if a run of byte tokens is decoded as a whole.

        The next byte token can change the text of the whole run.
        """
        end = len(ids)
        while end and self._ends_bytes is not None and ids[end - 1] not in self._ends_bytes:
            end -= 1
        return ids[:end]

    def decode(self, ids: Ids, skip_special_tokens: bool = False) -> str:
        """T ids -> a text. Raises TokenizerError for an id outside the vocabulary."""
        with foreign(TokenizerError, f"{self._where}: decoding", file=self._where):
            text: str = self._core.decode(self._id_list(ids), skip_special_tokens=skip_special_tokens)
        if self._cleans_spaces:
            for space in _SPACES:
                text = text.replace(space, space.strip())
        return text

    def batch_decode(
        self,
        ids: Iterable[Ids] | torch.Tensor | np.ndarray[Any, Any],
        skip_special_tokens: bool = False,
    ) -> list[str]:
        """(B, T) ids, or B lists of ids -> B texts. Raises TokenizerError for an id outside the vocabulary."""
        if isinstance(ids, torch.Tensor):
            ids = ids.tolist()  # one copy from the device instead of one per row
        if not isinstance(ids, Iterable):
            expected, found = "a list of lists of ids", type(ids).__name__
            raise TokenizerError(f"expected {expected}, found {found}", expected=expected, found=found)
        return [self.decode(row, skip_special_tokens) for row in ids]

    def _id_list(self, ids: Ids) -> list[int]:
        return as_id_list(ids, self._bound, len(self))

    def _tokens_that_end_bytes(self) -> frozenset[int]:
        """The tokens that end a run of byte tokens: all others, except special tokens, which decoding can skip."""
        special = {number for number, token in self._core.get_added_tokens_decoder().items() if token.special}
        return frozenset(n for n, token in self._tokens.items() if n not in special and not _BYTE.fullmatch(token))

    # Special tokens.

    def _set_special(self, name: str, token: str | None) -> None:
        if token is not None and token not in self._ids:
            raise TokenizerError(
                f"{name} {token!r} is not among the {len(self)} tokens of {self._where}",
                file=self._where,
                field=name,
                found=token,
            )
        special = {**self._special, name: token}
        self._special = {n: text for n in NAMES if (text := special.get(n)) is not None}

    def _add_special_tokens(self, family: str | None) -> dict[str, str]:
        """Make the special tokens known to the core, and return them by name, in the order of ``NAMES``."""
        named, fields = self._settings.named, self._fields
        mark_special(
            self._core,
            [*special_entries(fields.get("added_tokens_decoder")), *named.values(), *self._settings.listed],
        )
        of_class = special_tokens_of_class(fields.get("tokenizer_class")) or special_tokens_of_class(family)
        implied = {
            name: token
            for name, token in of_class.items()
            if name not in fields and self._core.token_to_id(token) is not None
        }
        mark_special(self._core, implied.values())
        texts = {**implied, **{name: token_text(value) for name, value in named.items()}}
        return {name: text for name in NAMES if (text := texts.get(name)) is not None}

    def _check_ids(self) -> None:
        largest = max(self._core.get_vocab(with_added_tokens=True).values(), default=-1)
        if largest < 0:
            raise TokenizerError(
                f"{self._where}: expected a vocabulary, found no token", file=self._where, expected="a vocabulary"
            )
        if largest >= LARGEST_ID:
            raise TokenizerError(
                f"{self._where}: token id {largest} is not below {LARGEST_ID}",
                file=self._where,
                expected=f"below {LARGEST_ID}",
                found=largest,
            )


def _bad_argument(name: str, expected: str, found: Any) -> TokenizerError:
    return TokenizerError(f"{name} must be {expected}, got {found!r}", field=name, expected=expected, found=found)


def _joins_bytes(decoder: Any) -> bool:
    """Whether a decoder in a tokenizer.json decodes each run of byte tokens as a whole, so that one wrong byte spoils it."""
    if not isinstance(decoder, dict):
        return False
    return decoder.get("type") == "ByteFallback" or any(map(_joins_bytes, decoder.get("decoders") or ()))
