"""The state of an image from when it is opened until its text is complete."""

from __future__ import annotations

from typing import Any

from vedcore.errors import ImageError
from vedcore.generation import StreamedTokens
from vedcore.reader.layout import Layout
from vedcore.reader.prompts import PromptIds
from vedcore.reader.reading import Reading
from vedcore.text import StreamingDecoder, Tokenizer


class ReadJob:
    """An image that is being read: its layout, and the readings of the lines that are done."""

    def __init__(self, source: Any, layout: Layout, lines: int, prompt: PromptIds | None = None) -> None:
        """lines: the number of lines. prompt: the prompt of each line."""
        self.source, self.prompt = source, prompt
        self._layout = layout
        self._readings: list[Reading | None] = [None] * lines

    def set_reading(self, position: int, reading: Reading) -> None:
        """Store the reading of the line at ``position``."""
        self._readings[position] = reading

    @property
    def finished(self) -> bool:
        """Whether every line is read."""
        return None not in self._readings

    def result(self) -> Reading:
        """The reading of the image, once ``finished``."""
        return self._layout.combine([reading for reading in self._readings if reading is not None], self.source)


class FailedJob:
    """An image that cannot be opened. Its error waits for its turn among the results."""

    finished = True

    def __init__(self, error: ImageError) -> None:
        self._error = error

    def result(self) -> ImageError:
        """Why there is no reading."""
        return self._error


class StreamState:
    """An image whose text is given out while it is generated: the text of each line so far, and how much was given out."""

    def __init__(
        self,
        index: int,
        source: Any,
        layout: Layout,
        lines: int,
        tokenizer: Tokenizer,
        prompt: PromptIds | None = None,
    ) -> None:
        """lines: the number of lines. prompt: the prompt of each line."""
        self.index, self.source, self.prompt = index, source, prompt
        self._layout = layout
        self._decoders = [StreamingDecoder(tokenizer) for _ in range(lines)]
        self._sent = 0

    def add(self, position: int, new: StreamedTokens) -> str:
        """Take new tokens of the line at ``position``; return the text that is new. Lines appear in reading order."""
        self._decoders[position].add(new.tokens, last=new.stop_reason is not None)
        texts = []
        for decoder in self._decoders:
            texts.append(decoder.text)
            if not decoder.finished:
                break
        text = self._layout.join(texts)
        fresh, self._sent = text[self._sent :], max(self._sent, len(text))
        return fresh
