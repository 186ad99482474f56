"""``Part``: the base class of a backbone's model. It has a config, and it is saved and loaded in the transformers format."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from torch import Tensor, nn

from vedcore.config import Config
from vedcore.contract.protocols import DecoderSizes
from vedcore.contract.types import Step
from vedcore.errors import CheckpointNotFound, ConfigError, SaveError, foreign
from vedcore.nn.pruning import apply_pruning, prune_heads
from vedcore.speed.preparable import Preparable
from vedcore.storage.files import staged, write_json
from vedcore.storage.keymap import KeyMap
from vedcore.storage.loading import load_sections
from vedcore.storage.saving import check_loadable, tensors_to_write
from vedcore.storage.sections import Section
from vedcore.storage.tensors import WEIGHT_FILES, write_tensors

C = TypeVar("C", bound=Config)
M = TypeVar("M", bound=nn.Module)


class Part(Preparable, Generic[C]):
    """An encoder or a decoder that is built from its config.

    A subclass defines ``config_class`` and ``keymap``, and its ``__init__`` calls ``super().__init__(config)`` first. When
    ``__init__`` has returned, the heads that the config lists as pruned are removed.
    """

    config_class: ClassVar[type[Any]]
    keymap: ClassVar[KeyMap]
    config: C

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        build = cls.__init__

        @functools.wraps(build)
        def build_and_prune(self: Part[Any], *args: Any, **options: Any) -> None:
            build(self, *args, **options)
            if type(self) is cls:  # the outermost __init__: all layers are there
                apply_pruning(self)

        cls.__init__ = build_and_prune  # type: ignore[method-assign]

    def __init__(self, config: C) -> None:
        if not isinstance(config, self.config_class):
            raise ConfigError(
                f"{type(self).__name__} is built from a {self.config_class.__name__}, got {type(config).__name__}",
                field="config",
                expected=self.config_class.__name__,
                found=type(config).__name__,
            )
        super().__init__()
        self.config = config

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights."""
        return next(self.parameters()).dtype

    def prune_heads(
        self, heads: Mapping[int, Iterable[int]], *, cross: Mapping[int, Iterable[int]] | None = None
    ) -> None:
        """Remove heads of self-attention, by the number of their layer; with ``cross`` also heads of cross-attention.

        Layers are counted through all stages. Heads keep the numbers that they have in the unpruned layer. The config
        records them, so that vedcore loads what is saved; transformers cannot represent such a model. The parameters are
        replaced: create the optimiser afterwards.
        Raises ConfigError, and changes nothing, if there is no such layer or head, or if a layer would have no head left.
        """
        prune_heads(self, heads, cross)
        self.discard_prepared()

    def sections(self) -> list[Section]:
        """How the part is stored in a checkpoint of its own."""
        return [Section("", self, self.keymap)]

    def save_pretrained(self, folder: str | os.PathLike[str], *, max_shard_size: int | str = "50GB") -> None:
        """Write config.json and the weights to ``folder``. transformers can read them unless heads are pruned.

        Raises SaveError, with ``folder`` as it was, if the tensors are not those that the config describes (a replaced
        layer, a changed size) or if the disk does not take the files.
        """
        reference = reference_without_storage(lambda: type(self)(self.config))
        check_loadable(self, reference, folder)
        tensors = tensors_to_write(self.sections())
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
        """The part that is stored in ``folder``, in eval mode.

        dtype: the type of the weights; None keeps the stored type.
        Raises CheckpointError, which lists every tensor that does not fit the config, or ConfigError.
        """
        # A name that is too long, or not a path at all, is an error of the library.
        with foreign(CheckpointNotFound, f"{str(folder)[:200]}: no such folder", found=folder):
            config = cls.config_class.from_pretrained(folder)
        # Sizes that no tensor can have are an error of torch. Sizes that do not fit into memory never match a file's shapes.
        what = f"{folder}: no {cls.__name__} can be built from config.json"
        with foreign(ConfigError, what, file=folder), without_storage():
            part = cls(config)
        load_sections(part.sections(), Path(folder), allow_pickle=allow_pickle, dtype=dtype)
        return part.eval()


class DecoderPart(Part[C]):
    """The base of a decoder. It has the ``forward`` that composes the parts.

    A subclass has ``sizes``, ``token_embedding``, ``embed``, ``blocks``, ``cross``, ``norm``, ``lm_head`` and ``make_cross``:
    see ``vedcore.contract.protocols.Decoder``.
    """

    sizes: DecoderSizes
    blocks: nn.Module
    cross: nn.ModuleList | None
    norm: nn.Module
    lm_head: nn.Module

    def embed(self, input_ids: Tensor | None, step: Step, /, *, inputs_embeds: Tensor | None = None) -> Tensor:
        """(R, T) ids, or (R, T, D) embeddings in their place -> (R, T, D), with positions and token types added."""
        raise NotImplementedError

    def make_cross(self) -> nn.ModuleList | None:
        """New cross-attention layers of the architecture's own kind; None if it has none."""
        return None

    def forward(self, input_ids: Tensor | None, step: Step, /, *, inputs_embeds: Tensor | None = None) -> Tensor:
        """(R, T) ids, or (R, T, D) embeddings in their place -> (R, T, D) hidden states."""
        x = self.embed(input_ids, step, inputs_embeds=inputs_embeds)
        return self.norm(self.blocks(x, step, self.cross))  # type: ignore[no-any-return]


@contextmanager
def without_storage() -> Iterator[None]:
    """Modules that are built inside have shapes but no values, until a checkpoint fills them."""
    with torch.device("meta"):
        yield


def reference_without_storage(build: Callable[[], M]) -> M:
    """The module that loading would build, to compare a module with before it is saved. torch's random state is kept.

    Raises SaveError if it cannot be built.
    """
    try:
        with foreign(ConfigError, "no model"), torch.random.fork_rng(devices=[]), without_storage():
            return build()
    except ConfigError as cause:
        raise SaveError(
            f"not saved, because nothing can be built from the config; was it changed after the model was built? {cause}",
            field=cause.field,
            expected=cause.expected,
            found=cause.found,
        ) from cause
