"""Where the lines of an image are, and how their texts become the reading of the image.

``FindLines`` and ``Layout`` are all that the rest of the reader knows about this. Today an image is one line, which is read
whole or cut into pieces. Another way to find lines, such as a page segmenter, is another FindLines with its own Layout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import attrs
import numpy as np

from vedcore.errors import ConfigError
from vedcore.reader.reading import Box, Piece, Reading
from vedcore.storage.own import OWN_FILE, own_settings
from vedcore.vision import CutRule, ImageSource, cut_line


class Layout(Protocol):
    """How the lines of one image belong together. It keeps no pixels, since it lives until all lines are read."""

    def join(self, texts: Sequence[str]) -> str:
        """The text of the image so far, from the texts of its first lines."""
        ...

    def combine(self, readings: Sequence[Reading], source: Any) -> Reading:
        """The reading of the image ``source``, from the readings of all lines."""
        ...


FindLines = Callable[[Any], tuple[Sequence[ImageSource], Layout]]
"""An RGB image, from ``load_image`` -> the image of each line, at least one, in reading order, and their layout."""


class WholeImage:
    """The layout of an image that is one line."""

    def join(self, texts: Sequence[str]) -> str:
        """The text of the line."""
        return texts[0]

    def combine(self, readings: Sequence[Reading], source: Any) -> Reading:
        """The reading of the line."""
        return readings[0]


class CutLine:
    """The layout of a long line that is cut into pieces."""

    def __init__(self, boxes: Sequence[Box], separator: str) -> None:
        self._boxes, self._separator = boxes, separator

    def join(self, texts: Sequence[str]) -> str:
        """The texts of the pieces with the separator between them."""
        return self._separator.join(texts)

    def combine(self, readings: Sequence[Reading], source: Any) -> Reading:
        """The tokens of all pieces; the first stop reason other than "eos"."""
        logprobs = tuple(value for reading in readings for value in reading.token_logprobs)
        return Reading(
            text=self.join([reading.text for reading in readings]),
            confidence=float(np.exp(np.mean(logprobs))),
            token_ids=tuple(token for reading in readings for token in reading.token_ids),
            token_logprobs=logprobs,
            stop_reason=next((reading.stop_reason for reading in readings if reading.stop_reason != "eos"), "eos"),
            source=source,
            pieces=tuple(Piece(box, reading.text) for box, reading in zip(self._boxes, readings, strict=True)),
        )


def whole_image(image: Any) -> tuple[Sequence[ImageSource], Layout]:
    """The whole image as one line."""
    return [image], WholeImage()


def cut_long_lines(rule: CutRule) -> FindLines:
    """A function that cuts a line into pieces if it is long by ``rule``, and otherwise leaves it whole."""

    def find_lines(image: Any) -> tuple[Sequence[ImageSource], Layout]:
        pieces = cut_line(np.asarray(image), rule)
        if not pieces:
            return whole_image(image)
        return [piece.pixels for piece in pieces], CutLine([piece.box for piece in pieces], rule.separator)

    return find_lines


def read_cut_rule(folder: Path) -> CutRule | None:
    """The cut rule in the checkpoint's vedcore.json, or None. Raises ConfigError if it is not a valid rule."""
    rule, path = own_settings(folder).get("cut"), folder / OWN_FILE
    if rule is None:
        return None
    known = sorted(attribute.name for attribute in attrs.fields(CutRule))
    if not isinstance(rule, dict) or not set(rule) <= set(known):
        expected = f"an object with {', '.join(known)}"
        raise ConfigError(
            f"{path}: cut must be {expected}, got {rule!r}", file=path, field="cut", expected=expected, found=rule
        )
    try:
        return CutRule(**rule)
    except ConfigError as error:
        raise ConfigError(
            f"{path}: {error}", file=path, field=error.field, expected=error.expected, found=error.found
        ) from error
