"""Read the vocabulary of a sentencepiece .model file, without protobuf.

The file is one protocol buffer message. The fields that are read:
1 a token, repeated {1 text, 2 score, 3 type}; 2 the trainer's settings {3 model type, 35 byte fallback};
3 the normalizer's settings {2 the compiled character map}. Every other field is ignored.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vedcore.errors import TokenizerError

NORMAL, CONTROL, USER_DEFINED = 1, 3, 4
UNIGRAM = 1

_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5


@dataclass(frozen=True)
class ScoredToken:
    """A token with its score (a log-probability) and its type."""

    text: str
    score: float
    type: int


@dataclass(frozen=True)
class Model:
    """The tokens in the order of their ids, and the compiled character map (empty if the file has none)."""

    tokens: tuple[ScoredToken, ...]
    charsmap: bytes
    model_type: int
    byte_fallback: bool


def read_model(data: bytes, where: str) -> Model:
    """The model in ``data``. Raises TokenizerError; the message starts with ``where``, the path of the file."""
    try:
        tokens, trainer, normalizer = [], {}, {}
        for number, value in _fields(data):
            if number == 1:
                tokens.append(_token(_message(value)))
            elif number == 2:
                trainer.update(_message(value))
            elif number == 3:
                normalizer.update(_message(value))
        charsmap, kind = normalizer.get(2, b""), trainer.get(3, UNIGRAM)
        if type(charsmap) is not bytes or type(kind) is not int:
            raise ValueError("a field of the settings has the wrong type")
    except (ValueError, struct.error) as cause:
        raise _not_a_model(where, str(cause)) from cause
    if not tokens:
        raise _not_a_model(where, "no tokens")
    return Model(tuple(tokens), charsmap, kind, bool(trainer.get(35, 0)))


def _not_a_model(where: str, reason: str) -> TokenizerError:
    return TokenizerError(
        f"{where}: not a sentencepiece model ({reason})", file=where, expected="a sentencepiece model", found=reason
    )


def _token(fields: dict[int, Any]) -> ScoredToken:
    text, score, kind = fields.get(1, b""), fields.get(2, bytes(4)), fields.get(3, NORMAL)
    if type(text) is not bytes or type(score) is not bytes or type(kind) is not int:
        raise ValueError("a field of a token has the wrong type")
    number: float = struct.unpack("<f", score)[0]
    if not math.isfinite(number):
        raise ValueError(f"a token has the score {number}")
    return ScoredToken(text.decode("utf-8"), number, kind)


def _message(value: Any) -> dict[int, Any]:
    if type(value) is not bytes:
        raise ValueError("a number in place of a message")
    return dict(_fields(value))


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message, each as (its number, an int or its bytes)."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        kind = key & 7
        if kind == _VARINT:
            number, place = _varint(data, place)
            yield key >> 3, number
            continue
        if kind == _BYTES:
            length, place = _varint(data, place)
        elif kind in (_FOUR_BYTES, _EIGHT_BYTES):
            length = 4 if kind == _FOUR_BYTES else 8
        else:
            raise ValueError(f"a field of the unknown wire type {kind} at byte {place}")
        if place + length > len(data):
            raise ValueError(f"a field of {length} bytes at byte {place}, but the file has {len(data)}")
        yield key >> 3, data[place : place + length]
        place += length


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """A number in bytes of seven bits each, lowest first -> (the number, the position after it)."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            raise ValueError("the file ends inside a number")
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise ValueError(f"a number of more than ten bytes at byte {place - 10}")
