"""The state of an image from when it is opened until its text is complete."""

from __future__ import annotations

from vedcore.errors import ImageError
from vedcore.generation import StreamedTokens
from vedcore.reader.layout import Layout, OpenedImage, RowText
from vedcore.reader.prompts import PromptIds
from vedcore.reader.reading import Reading
from vedcore.text import StreamingDecoder, Tokenizer


class ReadJob:
    """An image that is being read: its layout, and the texts of the rows that are done."""

    def __init__(self, image: OpenedImage, layout: Layout, rows: int, prompt: PromptIds | None = None) -> None:
        """rows: the number of rows. prompt: the prompt of each row."""
        self.prompt = prompt
        self._image, self._layout = image, layout
        self._texts: list[RowText | None] = [None] * rows

    def set_text(self, position: int, text: RowText) -> None:
        """Store the text of the row at ``position``."""
        self._texts[position] = text

    @property
    def finished(self) -> bool:
        """Whether every row is read."""
        return None not in self._texts

    def result(self) -> Reading:
        """The reading of the image, once ``finished``."""
        return self._layout.combine([text for text in self._texts if text is not None], self._image)


class FailedJob:
    """An image that cannot be opened. Its error waits for its turn among the results."""

    finished = True

    def __init__(self, error: ImageError) -> None:
        self._error = error

    def result(self) -> ImageError:
        """Why there is no reading."""
        return self._error


class StreamState:
    """An image whose text is given out while it is generated: the text of each row so far, and how much was given out."""

    def __init__(
        self,
        index: int,
        image: OpenedImage,
        layout: Layout,
        rows: int,
        tokenizer: Tokenizer,
        prompt: PromptIds | None = None,
    ) -> None:
        """rows: the number of rows. prompt: the prompt of each row."""
        self.index, self.source, self.prompt = index, image.source, prompt
        self._layout = layout
        self._decoders = [StreamingDecoder(tokenizer) for _ in range(rows)]
        self._sent = 0

    def add(self, position: int, new: StreamedTokens) -> str:
        """Take new tokens of the row at ``position``; return the text that is new. Rows appear in reading order."""
        self._decoders[position].add(new.tokens, last=new.stop_reason is not None)
        texts, complete = [], True
        for decoder in self._decoders:
            texts.append(decoder.text)
            complete = decoder.finished
            if not complete:
                break
        text = self._layout.join(texts, complete=complete)
        fresh, self._sent = text[self._sent :], max(self._sent, len(text))
        return fresh
