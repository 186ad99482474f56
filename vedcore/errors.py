"""The errors that vedcore raises, one tree:

VedcoreError
├── ConfigError          a config field, a setting or an argument has a value that cannot be used
├── CheckpointError      a checkpoint folder, a weight file or a tensor is not what the config asks for
│   ├── CheckpointNotFound
│   └── SaveError        a save did not happen; what was there before still is
├── ImageError           a file or an array that is not an image which can be read
├── TokenizerError       a tokenizer file, a text or an id that the tokenizer cannot take
├── InputError           tensors given to a model do not fit it or each other
├── GenerationError      decoding cannot go on (scores that are not finite)
├── TrainingError        training cannot start or go on (bad data, a loss that is not finite)
└── PluginError          a plugin is broken, clashes or asks for another version
    └── PluginNotFound

Each is also the builtin that a stranger would catch. A message says what was asked, what was found, where, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class VedcoreError(Exception):
    """The base of every error that vedcore raises for bad input."""


class ConfigError(VedcoreError, ValueError):
    """A config field, a setting or an argument has a value that cannot be used."""


class CheckpointError(VedcoreError, ValueError):
    """A checkpoint is not what its config asks for."""


class CheckpointNotFound(CheckpointError, FileNotFoundError):
    """No folder, hub id or shipped checkpoint of that name, or a file of it is missing."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class SaveError(CheckpointError, OSError):
    """A save did not happen; what was at the path before is still there, whole."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class ImageError(VedcoreError, ValueError):
    """Not an image that can be read."""


class TokenizerError(VedcoreError, ValueError):
    """A tokenizer file, a text or an id that the tokenizer cannot take."""


class InputError(VedcoreError, ValueError):
    """Tensors that do not fit the model or each other."""


class GenerationError(VedcoreError, RuntimeError):
    """Decoding cannot go on."""


class TrainingError(VedcoreError, RuntimeError):
    """Training cannot start or go on."""


class PluginError(VedcoreError, RuntimeError):
    """A plugin is broken, clashes with another, or was built for another version of vedcore."""


class PluginNotFound(PluginError, LookupError):
    """No installed plugin supplies what was asked for."""


@contextmanager
def foreign(error: type[VedcoreError], what: str) -> Iterator[None]:
    """Turn whatever a library raises for bad input into ``error``, with ``what`` (a file, an action) in front.

    tokenizers raises ``PanicException`` for some bad files: a BaseException, recognised by its name
    since the class cannot be imported. KeyboardInterrupt and SystemExit pass through.
    """
    try:
        yield
    except (VedcoreError, MemoryError):
        raise
    except Exception as cause:
        raise error(f"{what}: {_one_line(cause)}") from cause
    except BaseException as cause:
        if type(cause).__name__ != "PanicException":
            raise
        raise error(f"{what}: {_one_line(cause)}") from cause


def _one_line(cause: BaseException) -> str:
    text = " ".join(str(cause).split())[:300] or "no further message"
    return f"{type(cause).__name__}: {text}"
