"""What a reader returns for an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Box = tuple[int, int, int, int]
"""(left, top, right, bottom) in pixels of the image, right and bottom exclusive."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a long line: its box in the image, and its text."""

    box: Box
    text: str


@dataclass(frozen=True, slots=True)
class Reading:
    """The text of one image.

    confidence: exp(mean log-probability of the tokens, including the end token), 0 to 1.
    token_ids, token_logprobs: the tokens after the start token or the prompt, including the end token, and their
    log-probabilities. The text is theirs.
    stop_reason: "eos", or why generation stopped before the end token.
    source: the image as the caller passed it.
    pieces: the pieces of a line that was cut, otherwise empty.
    """

    text: str
    confidence: float
    token_ids: tuple[int, ...]
    token_logprobs: tuple[float, ...]
    stop_reason: str
    source: Any
    pieces: tuple[Piece, ...] = ()


@dataclass(frozen=True, slots=True)
class Fragment:
    """New text of an image while it is being read. The fragments of an image, joined, are the text of its Reading.

    index: the position of the image among those passed. source: the image as the caller passed it.
    """

    index: int
    source: Any
    text: str
