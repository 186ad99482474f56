"""The errors that vedcore raises, one tree:

VedcoreError
├── ConfigError          a config field, a setting or an argument has a value that cannot be used
├── CheckpointError      a folder, a weight file or a tensor is not what the config asks for
│   ├── CheckpointNotFound
│   └── SaveError        a save did not happen; what was there before is still there
├── ImageError           a file or an array is not an image that can be read
├── TokenizerError       the tokenizer cannot take a file, a text or an id
├── InputError           tensors do not fit the model or each other
├── GenerationError      decoding cannot go on (scores that are not finite)
├── TrainingError        training cannot start or go on (bad data, a loss that is not finite)
└── PluginError          a plugin is broken, conflicts with another or needs another version
    └── PluginNotFound

Each is also the builtin that a caller who does not know vedcore would catch. The message is for people: it says what was
asked, what was found, where, and what to do. The attributes are for programs: ``file``, ``field``, ``tensor``, ``expected``
and ``found``, None where they do not apply.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class VedcoreError(Exception):
    """The base of every error that vedcore raises for bad input.

    Attributes:
        file: the path of the file or folder at fault, as text.
        field: the config field, setting or argument at fault, by its name.
        tensor: the tensor at fault, by its name in the file or in the call.
        expected: what would have been right: a value, a shape, a type or a short phrase.
        found: what was there instead.
    """

    def __init__(
        self,
        message: str = "",
        *,
        file: str | os.PathLike[str] | None = None,
        field: str | None = None,
        tensor: str | None = None,
        expected: Any = None,
        found: Any = None,
    ) -> None:
        super().__init__(*([message] if message else []))
        self.file = None if file is None else os.fspath(file)
        self.field = field
        self.tensor = tensor
        self.expected = expected
        self.found = found

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class ConfigError(VedcoreError, ValueError):
    """A config field, a setting or an argument has a value that cannot be used."""


class CheckpointError(VedcoreError, ValueError):
    """A checkpoint is not what its config asks for."""


class CheckpointNotFound(CheckpointError, FileNotFoundError):
    """No folder, hub id or shipped checkpoint has that name, or a file of it is missing."""


class SaveError(CheckpointError, OSError):
    """A save did not happen; what was at the path before is still there, whole."""


class ImageError(VedcoreError, ValueError):
    """Not an image that can be read."""


class TokenizerError(VedcoreError, ValueError):
    """The tokenizer cannot take a tokenizer file, a text or an id."""


class InputError(VedcoreError, ValueError):
    """Tensors do not fit the model or each other."""


class GenerationError(VedcoreError, RuntimeError):
    """Decoding cannot go on."""


class TrainingError(VedcoreError, RuntimeError):
    """Training cannot start or go on."""


class PluginError(VedcoreError, RuntimeError):
    """A plugin is broken, conflicts with another, or was built for another version of vedcore."""


class PluginNotFound(PluginError, LookupError):
    """No installed plugin supplies what was requested."""


@contextmanager
def foreign(error: type[VedcoreError], what: str, **data: Any) -> Iterator[None]:
    """Turn whatever a library raises for bad input into ``error``; the message starts with ``what`` (a file, an action).

    ``data`` are the attributes of the error. tokenizers raises ``PanicException`` for some bad files: a BaseException,
    recognised by its name because the class cannot be imported. KeyboardInterrupt and SystemExit pass through.
    """
    try:
        yield
    except (VedcoreError, MemoryError):
        raise
    except Exception as cause:
        raise error(f"{what}: {_one_line(cause)}", **data) from cause
    except BaseException as cause:
        if type(cause).__name__ != "PanicException":
            raise
        raise error(f"{what}: {_one_line(cause)}", **data) from cause


def _one_line(cause: BaseException) -> str:
    text = " ".join(str(cause).split())[:300] or "no further message"
    return f"{type(cause).__name__}: {text}"
