"""Text of tokens that are still coming."""

from __future__ import annotations

from collections.abc import Sequence

from vedcore.text.tokenizer import Tokenizer

_PENDING = "\N{REPLACEMENT CHARACTER}"
"""What bytes decode to that are no character yet."""


def settled(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """The beginning of the text of ``ids``, special tokens skipped, that no further token can change.

    Held back is a character of which bytes are missing, a run of byte tokens that has no end yet where it is decoded as a
    whole, and the last word where the tokenizer takes spaces out again.
    """
    text = tokenizer.decode(tokenizer.without_open_bytes(ids), skip_special_tokens=True).rstrip(_PENDING)
    if not tokenizer.cleans_spaces:
        return text
    end = text.rfind(" ")
    while text.startswith(" '", end):  # it joins the words on its sides to one
        end = text.rfind(" ", 0, end)
    return text[: max(end, 0)]
