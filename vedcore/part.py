"""``Part``: the base of a backbone's model, which knows its config and how its checkpoints are read and written."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from torch import nn

from vedcore.config import Config, Heads
from vedcore.errors import CheckpointNotFound, ConfigError, foreign
from vedcore.nn.attention import CrossAttention, SelfAttention, heads_without
from vedcore.storage.files import staged, write_json
from vedcore.storage.keymap import KeyMap
from vedcore.storage.sections import Section, load_sections, save_sections
from vedcore.storage.tensors import WEIGHT_FILES, write_tensors

C = TypeVar("C", bound=Config)
Attention = SelfAttention | CrossAttention


class _Whole(type):
    """A part is built whole by its own ``__init__``; then the heads go that its config says were pruned."""

    def __call__(cls, *args: Any, **options: Any) -> Any:
        part = super().__call__(*args, **options)
        part.prune_as_configured()
        return part


class Part(nn.Module, Generic[C], metaclass=_Whole):
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

    def prune_heads(
        self, heads: Mapping[int, Iterable[int]], *, cross: Mapping[int, Iterable[int]] | None = None
    ) -> None:
        """Take heads of self-attention away, by the number of their layer; with ``cross`` heads of cross-attention.

        Layers are counted through all stages; heads keep the numbers that they have in the whole layer. The config records
        it, so that what is saved loads again, here: transformers has no such models. The tensors are new ones: make an
        optimiser afterwards. ConfigError, with the part as it was: no such layer or head, or no head would be left.
        """
        config = self.config
        asked = _by_layer("heads", heads), _by_layer("cross", {} if cross is None else cross)
        pruned = _both(config.pruned_heads, asked[0]), _both(config.pruned_cross_heads, asked[1])
        self._checked(pruned)
        # Both pass the config's own checks before either is set.
        checked = config.replace(pruned_heads=pruned[0], pruned_cross_heads=pruned[1])
        config.pruned_heads, config.pruned_cross_heads = checked.pruned_heads, checked.pruned_cross_heads
        self.prune_as_configured()

    def prune_as_configured(self) -> None:
        """Take away what the config says was pruned and is still there; of cross-attention where there is any yet."""
        config, (_, cross) = self.config, self._attentions()
        for attention, numbers in self._checked((config.pruned_heads, config.pruned_cross_heads if cross else {})):
            attention.prune(numbers)
        if config.pruned_heads and (shapes := getattr(self, "cache_shapes", None)):
            layers, _ = self._attentions()
            self.cache_shapes = tuple((a.num_heads, width) for a, (_, width) in zip(layers, shapes, strict=True))

    def _checked(self, pruned: tuple[Heads, Heads]) -> list[tuple[Attention, tuple[int, ...]]]:
        """Each attention that loses heads, and which. ConfigError as ``prune_heads``."""
        found = []
        for attentions, by_layer, kind in zip(self._attentions(), pruned, ("self", "cross"), strict=True):
            for layer, numbers in by_layer.items():
                if not 0 <= layer < len(attentions):
                    raise ConfigError(
                        f"{type(self).__name__} has {len(attentions)} layers of {kind}-attention, none with the number {layer}"
                    )
                heads_without(attentions[layer], numbers)
                found.append((attentions[layer], numbers))
        return found

    def _attentions(self) -> tuple[list[Attention], list[Attention]]:
        modules = list(self.modules())
        return [m for m in modules if isinstance(m, SelfAttention)], [
            m for m in modules if isinstance(m, CrossAttention)
        ]

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
        with foreign(CheckpointNotFound, f"{str(folder)[:200]}: no such folder"):  # a name that is too long, or none
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


def _by_layer(argument: str, heads: Any) -> Heads:
    """``heads`` as a config has them. ConfigError unless they are whole numbers by whole numbers."""
    try:
        found = {layer: tuple(numbers) for layer, numbers in heads.items()}
    except (AttributeError, TypeError):
        found = {None: ()}
    if any(type(number) is not int for layer, numbers in found.items() for number in (layer, *numbers)):
        raise ConfigError(f"{argument} must be lists of heads by layer, like {{0: [1, 2]}}, got {str(heads)[:80]}")
    return found


def _both(pruned: Heads, heads: Heads) -> Heads:
    """What was pruned and what is to be, by layer."""
    layers = sorted({*pruned, *heads})
    return {layer: tuple(sorted({*pruned.get(layer, ()), *heads.get(layer, ())})) for layer in layers}
