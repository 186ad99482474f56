"""A recipe: all that a training run depends on beside its data, read strictly from a toml file.

Each table of the file is a class here, and each of its keys a field. An unknown key is an error that names the nearest.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import attrs

from vedcore.config import as_float, as_tuple, field, from_dict, strict
from vedcore.errors import ConfigError
from vedcore.storage.files import parse_json
from vedcore.training.data import Dataset, Folder, Guarded, named
from vedcore.vision import Augmentation

TRAIN = "train"
"""The name of the data set that a stage learns from where the recipe names none: DATA of the command."""

# More than any run has; each would take memory, or days, before anything else refused it.
MOST_IMAGES = 2**16
MOST_WORKERS = 2**10
MOST_LINES = 2**20
MOST_STEPS = 2**40
MOST_MINUTES = 1e9


def _checked(accepts: Callable[[Any], bool], wanted: str) -> Callable[[Any, attrs.Attribute[Any], Any], None]:
    def check(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if not accepts(value):
            raise ConfigError(f"{type(instance).__name__}.{attribute.name} must be {wanted}, got {value!r}")

    return check


def _beta(default: float) -> Any:
    """A float field from 0 to below 1: how much of a running mean a step keeps."""
    check = _checked(lambda v: type(v) is float and 0 <= v < 1, "a number of at least 0, below 1")
    return attrs.field(default=default, converter=as_float, validator=check)


def _paces() -> Any:
    def are_factors(value: Any) -> bool:
        return isinstance(value, dict) and all(type(v) is float and 0 <= v < math.inf for v in value.values())

    return attrs.field(
        factory=dict, validator=_checked(are_factors, "finite numbers of at least 0 by part of the model")
    )


def _patterns() -> Any:
    def are_names(value: Any) -> bool:
        return isinstance(value, tuple) and all(type(pattern) is str for pattern in value)

    return attrs.field(default=(), converter=as_tuple, validator=_checked(are_names, "a list of names of parameters"))


def _writable(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """A table goes into the run's recipe.json: no date, no NaN, no depth that a file of JSON is refused for."""
    where = f"{type(instance).__name__}.{attribute.name}"
    if not isinstance(value, dict):
        raise ConfigError(f"{where} must be a table, got {value!r}")
    for name, item in value.items():
        try:
            parse_json(json.dumps({name: item}).encode(), "it")
        except (ConfigError, TypeError, ValueError, RecursionError) as cause:
            raise ConfigError(f"{where}.{name} must be something that JSON can hold ({cause})") from cause


def _table() -> Any:
    return attrs.field(factory=dict, validator=_writable)


def _source(what: str) -> Any:
    """A field that is a name (a folder, a shipped checkpoint, a hub id), a table of fields, or nothing."""

    def check(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value is not None and not isinstance(value, str | dict):
            raise ConfigError(f"{attribute.name} must be the name of a checkpoint or a table of {what}, got {value!r}")
        if isinstance(value, dict):
            _writable(instance, attribute, value)

    return attrs.field(default=None, validator=check)


@strict
class Parts:
    """``[model]``: what is trained. Either ``checkpoint``, to go on from it, or all four parts.

    checkpoint: a folder, the name of a shipped checkpoint, or a hub id. encoder, decoder: the same, whose weights are taken,
    or a table with the fields of a config.json, for random weights. tokenizer, image_processor: of which checkpoint; the
    latter also a table. adapter: how encoder and decoder are joined. generation: fields of generation_config.json. cut:
    the rule by which long lines are cut.
    """

    checkpoint: str | None = field.text(None)
    encoder: Any = _source("the fields of its config")
    decoder: Any = _source("the fields of its config")
    tokenizer: str | None = field.text(None)
    image_processor: Any = _source("the fields of its config")
    adapter: str = field.text("linear")
    generation: dict[str, Any] = _table()
    cut: dict[str, Any] = _table()

    def __attrs_post_init__(self) -> None:
        given = [n for n in ("encoder", "decoder", "tokenizer", "image_processor") if getattr(self, n) is not None]
        if self.checkpoint is not None and "encoder" in given + ["encoder"] * ("decoder" in given):
            raise ConfigError("model has a checkpoint, so it takes no encoder and no decoder; leave one of the two out")
        if self.checkpoint is None and len(given) < 4:
            raise ConfigError(
                "model needs a checkpoint to go on from, or encoder, decoder, tokenizer and image_processor; "
                f"it has {', '.join(given) or 'none of them'}"
            )


@strict
class Source:
    """``[data.NAME]``: a folder of labelled images, or what ``"module:callable"`` returns for ``options``.

    A module is looked for beside the recipe first. It is imported and run: use recipes as you would use scripts.
    """

    folder: str | None = field.text(None)
    source: str | None = field.text(None)
    options: dict[str, Any] = _table()

    def __attrs_post_init__(self) -> None:
        if (self.folder is None) == (self.source is None):
            raise ConfigError("a data set has either a folder or a source (module:callable)")
        if self.source is not None and not all(self.source.partition(":")):
            raise ConfigError(f"source must be module:callable, got {self.source!r}")

    def open(self, beside: Path) -> Dataset:
        """The data set; ``beside`` is the folder of the recipe, from which relative paths start.

        ConfigError for what cannot be read, and for whatever the source raises.
        """
        if self.folder is not None:
            return Folder(beside / self.folder)
        module_name, _, name = str(self.source).partition(":")
        if str(beside) not in sys.path:  # for worker processes too, so it stays
            sys.path.insert(0, str(beside))
        with named(f"source {self.source!r}"):
            try:
                make = getattr(importlib.import_module(module_name), name)
            except (ImportError, AttributeError) as cause:
                raise ConfigError(f"{cause}; it must be importable, or lie in {beside}") from cause
            dataset = make(**self.options)
        return dataset if isinstance(dataset, Folder) else Guarded(dataset, f"source {self.source!r}")


@strict
class Stage:
    """``[[stages]]``: a part of the run, with its own data and its own course of the learning rate.

    steps or minutes: how long; minutes make a run that no other machine repeats to the bit. lr: the learning rate, reached
    after ``warmup`` steps; from there it follows ``schedule`` to ``end`` times itself.
    """

    data: str = field.text(TRAIN)
    steps: int | None = field.integer(None, at_most=MOST_STEPS)
    minutes: float | None = field.number(None, above=0, at_most=MOST_MINUTES)
    lr: float = field.number(1e-4, above=0)
    warmup: int = field.integer(0, at_least=0, at_most=MOST_STEPS)
    schedule: str = field.text("cosine", one_of=("constant", "cosine", "linear"))
    end: float = field.rate(0.0)

    def __attrs_post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            found = "neither is set" if self.steps is None else "both are set"
            raise ConfigError(f"a stage has either steps or minutes, but {found}")
        if self.steps is not None and self.warmup > self.steps:
            raise ConfigError(
                f"warmup ({self.warmup}) must be at most the steps of its stage ({self.steps}), or its rate is never reached"
            )


@strict
class Batch:
    """``[batch]``: size counts the images of one step, over all processes and ``accumulation`` passes. workers: processes
    that prepare images, 0 for none. What is learned does not depend on their number.
    """

    size: int = field.integer(32, at_most=MOST_IMAGES)
    accumulation: int = field.integer(1, at_most=MOST_IMAGES)
    workers: int = field.integer(2, at_least=0, at_most=MOST_WORKERS)


@strict
class Optimizer:
    """``[optimizer]``: AdamW. clip: the largest norm of the gradient, 0 for any. pace: by part of the model (a pattern of
    names, or ``new`` for what starts random), by how much its learning rate differs: ``{ "decoder.cross" = 10.0 }``.
    """

    beta1: float = _beta(0.9)
    beta2: float = _beta(0.999)
    eps: float = field.number(1e-8, above=0)
    weight_decay: float = field.number(0.01, at_least=0)
    clip: float = field.number(1.0, at_least=0)
    pace: dict[str, float] = _paces()


@strict
class Loss:
    """``[loss]``: label_smoothing, and the weight of a CTC loss on the encoder's states beside the decoder's loss.

    The CTC loss comes through one linear layer, which no checkpoint for reading has.
    """

    label_smoothing: float = field.rate(0.0)
    ctc: float = field.number(0.0, at_least=0)


@strict
class Evaluation:
    """``[evaluation]``: every so many steps, and at the end, ``lines`` lines are read and compared.

    data: the name of a data set. Without it ``lines`` lines, but no more than a tenth, are set apart from the first stage's
    data. lines = 0: no evaluation. worst: how many of the worst lines are kept.
    """

    data: str | None = field.text(None)
    every: int = field.integer(500)
    lines: int = field.integer(200, at_least=0, at_most=MOST_LINES)
    beams: int = field.integer(1)
    batch_size: int = field.integer(64, at_most=MOST_IMAGES)
    worst: int = field.integer(20, at_least=0, at_most=MOST_LINES)

    def __attrs_post_init__(self) -> None:
        if self.beams * self.batch_size > MOST_IMAGES:
            raise ConfigError(
                f"beams times batch_size of an evaluation must be at most {MOST_IMAGES}, got {self.beams} and "
                f"{self.batch_size}"
            )


@strict
class Checkpoints:
    """``[checkpoints]``: every so many steps one is written; the last ``keep`` stay, and the one that reads best."""

    every: int = field.integer(500)
    keep: int = field.integer(2)


def _one_train_stage() -> tuple[Stage, ...]:
    return (Stage(steps=2000, warmup=100),)


@strict
class Recipe:
    """The whole file. All but ``[model]`` has defaults.

    freeze: patterns of the names of parameters that do not learn. precision: that of the products in a step; weights stay
    float32. max_minutes: stop and save after so long, wherever the run is. log: steps between two lines of progress.
    """

    model: Parts
    data: dict[str, Source] = attrs.field(factory=dict)
    stages: tuple[Stage, ...] = attrs.field(factory=_one_train_stage)
    batch: Batch = attrs.field(factory=Batch)
    optimizer: Optimizer = attrs.field(factory=Optimizer)
    loss: Loss = attrs.field(factory=Loss)
    augmentation: Augmentation = attrs.field(factory=Augmentation)
    evaluation: Evaluation = attrs.field(factory=Evaluation)
    checkpoints: Checkpoints = attrs.field(factory=Checkpoints)
    seed: int = field.integer(0, at_least=0, at_most=2**63 - 1)
    precision: str = field.text("float32", one_of=("float32", "bfloat16", "float16"))
    gradient_checkpointing: bool = field.flag(False)
    freeze: tuple[str, ...] = _patterns()
    max_minutes: float | None = field.number(None, above=0, at_most=MOST_MINUTES)
    log: int = field.integer(10)

    def __attrs_post_init__(self) -> None:
        if not self.stages:
            raise ConfigError("stages is empty; a run has at least one")
        if self.batch.size % self.batch.accumulation:
            raise ConfigError(
                f"batch.size ({self.batch.size}) must be a multiple of batch.accumulation ({self.batch.accumulation})"
            )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "recipe") -> Self:
        """The recipe of the tables of a toml file. ConfigError names each wrong field, with ``where`` in front."""
        return from_dict(cls, data, where)

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str]) -> Self:
        """The recipe in a file. ConfigError: the file, the field, what it must be and what was found."""
        try:
            data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as cause:  # the last of tables within tables
            raise ConfigError(f"{path}: not a recipe that can be read ({cause})") from cause
        return cls.from_dict(data, str(path))

    def to_dict(self) -> dict[str, Any]:
        """The recipe as JSON or toml would hold it."""
        data: dict[str, Any] = json.loads(json.dumps(attrs.asdict(self)))  # type: ignore[arg-type]
        return data
