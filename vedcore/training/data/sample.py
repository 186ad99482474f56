"""A labelled image, and what a data set of labelled images offers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Protocol

from vedcore.vision import ImageSource

_LONE_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Sample:
    """An image with its text. ``source`` is the name of the sample in messages: a path, for example."""

    image: ImageSource
    text: str
    source: str


class Dataset(Protocol):
    """Labelled images by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


def is_valid_text(value: Any) -> bool:
    """Whether ``value`` is a string that UTF-8 can encode. JSON and file names can contain lone surrogates."""
    return isinstance(value, str) and not _LONE_SURROGATES.search(value)
