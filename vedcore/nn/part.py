"""``Part``: the base of a backbone's model, which knows its config and how its checkpoints are read and written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from torch import nn

from vedcore.checkpoint import WEIGHT_FILES, Section, load_sections, save_sections, write_tensors
from vedcore.config import Config
from vedcore.errors import ConfigError, foreign
from vedcore.files import staged, write_json
from vedcore.keymap import KeyMap

C = TypeVar("C", bound=Config)


class Part(nn.Module, Generic[C]):
    """An encoder or a decoder: its config, and saving and loading by itself in the transformers format.

    A subclass names its ``config_class`` and its ``keymap``, and calls ``super().__init__(config)`` first.
    """

    config_class: ClassVar[type[Any]]
    keymap: ClassVar[KeyMap]
    config: C

    def __init__(self, config: C) -> None:
        if not isinstance(config, self.config_class):
            raise ConfigError(
                f"{type(self).__name__} is built from a {self.config_class.__name__}, got {type(config).__name__}"
            )
        super().__init__()
        self.config = config

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights."""
        return next(self.parameters()).dtype

    def sections(self) -> list[Section]:
        """The part as it stands in a checkpoint of its own."""
        return [Section("", self, self.keymap)]

    def save_pretrained(self, folder: str | os.PathLike[str], *, max_shard_size: int | str = "50GB") -> None:
        """Write config.json and the weights to ``folder``, which transformers reads. SaveError leaves it as it was."""
        tensors = save_sections(self.sections())
        with staged(folder, replaces=WEIGHT_FILES) as stage:
            dtype = str(self.dtype).removeprefix("torch.")
            architectures = [type(self).__name__]
            write_json(
                stage / "config.json",
                {**self.config.to_dict(), "dtype": dtype, "architectures": architectures},
            )
            write_tensors(stage, tensors, max_shard_size)

    @classmethod
    def from_pretrained(
        cls, folder: str | os.PathLike[str], *, allow_pickle: bool = False, dtype: torch.dtype | None = None
    ) -> Self:
        """The part of the checkpoint in ``folder``, in eval mode. CheckpointError names all that does not fit."""
        config = cls.config_class.from_pretrained(folder)
        # Sizes that no tensor can have are an error of torch's, and that no memory has are a shape that no file has.
        with foreign(ConfigError, f"{folder}: no {cls.__name__} can be built from config.json"), without_storage():
            part = cls(config)
        load_sections(part.sections(), Path(folder), allow_pickle=allow_pickle, dtype=dtype)
        return part.eval()


@contextmanager
def without_storage() -> Iterator[None]:
    """Modules built here have shapes and no values: they wait for a checkpoint."""
    with torch.device("meta"):
        yield
