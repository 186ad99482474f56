"""What an error about an image says about where the image comes from."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from vedcore.errors import ImageError, foreign


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an image comes from: its name in messages, and its path if it is a file."""

    name: str
    file: str | None = None

    def error(self, message: str, *, expected: Any = None, found: Any = None) -> ImageError:
        """An ImageError whose message starts with the name of the image."""
        return ImageError(f"{self.name}: {message}", file=self.file, expected=expected, found=found)

    def wrap_errors(self, message: str) -> AbstractContextManager[None]:
        """A context in which every error of Pillow becomes an ImageError that starts with the name of the image."""
        return foreign(ImageError, f"{self.name}: {message}", file=self.file)
