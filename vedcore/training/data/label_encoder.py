"""From the text of a label to the token ids that a model learns to write."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any, Self

from vedcore.config import id_tuple
from vedcore.errors import ConfigError, TokenizerError
from vedcore.reader import Reader
from vedcore.text import is_skipped, is_unwritable
from vedcore.training.data.problem import Fault, Problem


class LabelEncoder:
    """Encodes the text of a label as token ids, or returns the Problem that prevents it.

    end: the id of the end token. max_length: the number of positions of the decoder, None if it is unlimited.
    """

    def __init__(self, tokenizer: Any, end: int, max_length: int | None) -> None:
        self.tokenizer, self.end, self.max_length = tokenizer, end, max_length
        self._is_lost = lru_cache(maxsize=None)(partial(is_unwritable, tokenizer))
        self._is_special = lru_cache(maxsize=None)(partial(is_skipped, tokenizer))

    @classmethod
    def for_reader(cls, reader: Reader) -> Self:
        """The label encoder of the reader's model. Raises ConfigError if the model has no end token."""
        ends = id_tuple(reader.model.config.eos_token_id)
        if not ends:
            raise ConfigError(
                "the model has no eos_token_id, so it cannot learn to stop; set model.config.eos_token_id",
                field="eos_token_id",
                expected="a token id",
            )
        return cls(reader.processor.tokenizer, ends[0], reader.model.decoder.sizes.max_positions)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.tokenizer, self.end, self.max_length)

    def __call__(self, text: str, source: str) -> list[int] | Problem:
        """The token ids of ``text``, the end token last, or the Problem; ``source`` is the name of the sample in it."""
        try:
            return self._encode(text, source)
        except TokenizerError as error:
            return Problem(Fault.unwritable, source, str(error))

    def _encode(self, text: str, source: str) -> list[int] | Problem:
        if not text.strip():
            return Problem(Fault.empty_label, source, "no text to learn")
        if lost := sorted({character for character in text if self._is_lost(character)}):
            listed = ", ".join(f"{character!r} (U+{ord(character):04X})" for character in lost[:8])
            detail = f"{listed} in {text[:60]!r}; the tokenizer has no token for it"
            return Problem(Fault.unwritable, source, detail, "".join(c for c in text if self._is_lost(c)))
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        if self.tokenizer.unk_token_id is not None and self.tokenizer.unk_token_id in ids:
            return Problem(Fault.unwritable, source, f"a word of {text[:60]!r} is unknown to the tokenizer")
        if special := [token for token in dict.fromkeys(ids) if self._is_special(token)]:
            listed = ", ".join(repr(self.tokenizer.decode([token])) for token in special[:8])
            detail = (
                f"{listed} in {text[:60]!r}; the tokenizer encodes it as a special token, which a reading never shows"
            )
            return Problem(Fault.special_token, source, detail)
        if self.max_length is not None and len(ids) + 1 > self.max_length:
            detail = (
                f"{len(ids)} tokens and the end token; the decoder has {self.max_length} positions: {text[:60]!r}; cut the "
                "image and its text into shorter ones. A model with a rule in model.cut does it, in a folder"
            )
            return Problem(Fault.too_long, source, detail)
        return [*ids, self.end]
