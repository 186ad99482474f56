"""Decode tokens while more of them arrive."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vedcore.text.tokenizer import Tokenizer

_INCOMPLETE = "\N{REPLACEMENT CHARACTER}"
"""What the bytes of an incomplete character decode to."""


def stable_text(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """The beginning of the text of ``ids`` that no later token can change, without special tokens.

    It leaves out a character whose bytes are incomplete, an unfinished run of byte tokens if the tokenizer decodes such a
    run as a whole, and the last word if the tokenizer removes spaces before punctuation.
    """
    text = tokenizer.decode(tokenizer.without_open_bytes(ids), skip_special_tokens=True).rstrip(_INCOMPLETE)
    if not tokenizer.cleans_spaces:
        return text
    end = text.rfind(" ")
    while text.startswith(" '", end):  # cleaning may remove the spaces on both sides of the apostrophe
        end = text.rfind(" ", 0, end)
    return text[: max(end, 0)]


class StreamingDecoder:
    """The text of one sequence whose tokens arrive a few at a time.

    ``text`` is what is certain so far; it only grows. ``finished`` is True after the last tokens.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.text = ""
        self.finished = False
        self._tokenizer = tokenizer
        self._ids: list[int] = []

    def add(self, ids: Iterable[int], *, last: bool) -> None:
        """Take the next tokens; ``last``: no more tokens follow, so that the whole text is certain."""
        self._ids += ids
        self.finished = last
        if last:
            self.text = self._tokenizer.decode(self._ids, skip_special_tokens=True)
        else:
            self.text = stable_text(self._tokenizer, self._ids)
