"""A recipe: every setting of a training run, read strictly from a toml file.

Each table of the file is a class here, and each key is a field. An unknown key is an error that names the nearest key.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import attrs

from vedcore.config import field, from_dict, strict
from vedcore.errors import ConfigError
from vedcore.training import recipe_fields
from vedcore.training.data.labels import ENCODINGS, UTF_8
from vedcore.training.data.sample import Dataset
from vedcore.training.data.stored import STORED, open_stored
from vedcore.training.data.validated import ValidatedDataset, errors_named
from vedcore.vision import Augmentation

TRAIN = "train"
"""The data set of a stage that names none: the argument DATA of the command."""

# Larger values than any run needs. Without limits a typing error would fill the memory or run for days.
MAX_IMAGES = 2**16
MAX_WORKERS = 2**10
MAX_LINES = 2**20
MAX_STEPS = 2**40
MAX_MINUTES = 1e9
MAX_EPOCHS = 1e9
MAX_THREADS = 2**12


@strict
class ModelSettings:
    """``[model]``: the model to train. Either ``checkpoint``, to continue from it, or the four parts of a new model.

    checkpoint: a folder, the name of a shipped checkpoint, or a hub id.
    encoder, decoder: the same, to take its weights, or a table with the fields of a config.json, for random weights.
    tokenizer: a checkpoint that has one. image_processor: the same, or a table with its fields.
    adapter: how encoder and decoder are joined. generation: fields of generation_config.json.
    add_characters: characters that the tokenizer and the model get in addition, "äöüß" for example.
    cut: the rule that cuts long lines into pieces. layout: how images are read by default ("auto", "page", "line", "whole").
    """

    checkpoint: str | None = field.text(None)
    encoder: Any = recipe_fields.name_or_table("the fields of its config")
    decoder: Any = recipe_fields.name_or_table("the fields of its config")
    tokenizer: str | None = field.text(None)
    image_processor: Any = recipe_fields.name_or_table("the fields of its config")
    adapter: str = field.text("linear")
    generation: dict[str, Any] = recipe_fields.table()
    add_characters: str = field.text("")
    cut: dict[str, Any] = recipe_fields.table()
    layout: str | None = field.text(None)

    def __attrs_post_init__(self) -> None:
        parts = ("encoder", "decoder", "tokenizer", "image_processor")
        found = [name for name in parts if getattr(self, name) is not None]
        if self.checkpoint is not None and {"encoder", "decoder"} & set(found):
            raise ConfigError(
                "model has a checkpoint, which includes encoder and decoder; remove either the checkpoint or the parts",
                field="checkpoint",
                found=found,
            )
        if self.checkpoint is None and len(found) < len(parts):
            raise ConfigError(
                "model needs a checkpoint to continue from, or encoder, decoder, tokenizer and image_processor; "
                f"it has {', '.join(found) or 'none of them'}",
                field="checkpoint",
                expected=parts,
                found=found,
            )


@strict
class DataSource:
    """``[data.NAME]``: a folder or a zip of labelled images, or the data set that ``source = "module:callable"`` returns.

    encoding: of the label files in the folder: "utf-8", "latin-1" or "cp1252".
    The callable receives ``options``. Its module is looked up next to the recipe first, then imported and run: trust a recipe
    only as much as a script.
    """

    folder: str | None = field.text(None)
    source: str | None = field.text(None)
    encoding: str = field.text(UTF_8, one_of=ENCODINGS)
    options: dict[str, Any] = recipe_fields.table()

    def __attrs_post_init__(self) -> None:
        if (self.folder is None) == (self.source is None):
            raise ConfigError("a data set needs either a folder or a source (module:callable)", field="source")
        if self.source is not None and not all(self.source.partition(":")):
            raise ConfigError(
                f"source must be module:callable, got {self.source!r}",
                field="source",
                expected="module:callable",
                found=self.source,
            )

    def open(self, beside: Path) -> Dataset:
        """The data set; ``beside`` is the folder of the recipe, to which paths are relative.

        Raises ConfigError if it cannot be read, and for everything that the source raises.
        """
        if self.folder is not None:
            return open_stored(beside / self.folder, self.encoding)
        module_name, _, name = str(self.source).partition(":")
        if str(beside) not in sys.path:  # it stays there, because worker processes import the module too
            sys.path.insert(0, str(beside))
        with errors_named(f"source {self.source!r}"):
            try:
                make = getattr(importlib.import_module(module_name), name)
            except (ImportError, AttributeError) as cause:
                raise ConfigError(f"{cause}; install it, or put it into {beside}", field="source") from cause
            dataset = make(**self.options)
        return dataset if isinstance(dataset, STORED) else ValidatedDataset(dataset, f"source {self.source!r}")


@strict
class Stage:
    """``[[stages]]``: a part of the run with its own data and learning rate schedule.

    steps, epochs or minutes: the length. An epoch has as many steps as the samples of ``data`` fill batches. A stage of
    minutes does not give the same weights again.
    lr: the learning rate that ``warmup`` steps reach; after them it follows ``schedule`` down to ``end * lr``.
    """

    data: str = field.text(TRAIN)
    steps: int | None = field.integer(None, at_most=MAX_STEPS)
    epochs: float | None = field.number(None, above=0, at_most=MAX_EPOCHS)
    minutes: float | None = field.number(None, above=0, at_most=MAX_MINUTES)
    lr: float = field.number(1e-4, above=0)
    warmup: int = field.integer(0, at_least=0, at_most=MAX_STEPS)
    schedule: str = field.text("cosine", one_of=("constant", "cosine", "linear"))
    end: float = field.rate(0.0)

    def __attrs_post_init__(self) -> None:
        lengths = [name for name in ("steps", "epochs", "minutes") if getattr(self, name) is not None]
        if len(lengths) != 1:
            found = f"{' and '.join(lengths)} are set" if lengths else "none of them is set"
            raise ConfigError(f"a stage has one of steps, epochs and minutes, but {found}", field="steps", found=found)
        if self.steps is not None and self.warmup > self.steps:
            raise ConfigError(
                f"warmup ({self.warmup}) must be at most the steps of its stage ({self.steps})",
                field="warmup",
                expected=f"at most {self.steps}",
                found=self.warmup,
            )


@strict
class BatchSettings:
    """``[batch]``: size is the number of images per step, over all processes and ``accumulation`` passes. workers: processes
    that prepare images, 0 for none; their number does not change the results.
    """

    size: int = field.integer(32, at_most=MAX_IMAGES)
    accumulation: int = field.integer(1, at_most=MAX_IMAGES)
    workers: int = field.integer(2, at_least=0, at_most=MAX_WORKERS)


@strict
class OptimizerSettings:
    """``[optimizer]``: AdamW. clip: the largest norm of the gradient, 0 for no limit. pace: factors of the learning rate by
    part of the model (a pattern of parameter names, or ``new`` for random weights): ``{ "decoder.cross" = 10.0 }``.
    """

    beta1: float = recipe_fields.beta(0.9)
    beta2: float = recipe_fields.beta(0.999)
    eps: float = field.number(1e-8, above=0)
    weight_decay: float = field.number(0.01, at_least=0)
    clip: float = field.number(1.0, at_least=0)
    pace: dict[str, float] = recipe_fields.factors()


@strict
class LossSettings:
    """``[loss]``: label_smoothing, and ``ctc``, the weight of an additional CTC loss on the encoder's states.

    The CTC loss has a linear layer of its own, which the trained checkpoint does not contain.
    """

    label_smoothing: float = field.rate(0.0)
    ctc: float = field.number(0.0, at_least=0)


@strict
class EvaluationSettings:
    """``[evaluation]``: reads ``lines`` lines and compares them with their labels: before the first step (unless the model has
    random weights), every ``every`` steps, and at the end. Without ``every`` the distance grows from 25 steps to 500.

    data: the name of a data set. Without it, ``lines`` lines (at most a tenth) are held out from the first stage's data.
    lines = 0: no evaluation. worst: the number of worst lines in the report.
    patience: end the run after this number of evaluations in a row without a lower character error rate (of equal rates, the
    one with the lower validation loss counts as lower). Without it a run never ends early.
    """

    data: str | None = field.text(None)
    every: int | None = field.integer(None)
    patience: int | None = field.integer(None)
    lines: int = field.integer(200, at_least=0, at_most=MAX_LINES)
    beams: int = field.integer(1)
    batch_size: int = field.integer(64, at_most=MAX_IMAGES)
    worst: int = field.integer(20, at_least=0, at_most=MAX_LINES)

    def __attrs_post_init__(self) -> None:
        if self.beams * self.batch_size > MAX_IMAGES:
            raise ConfigError(
                f"beams times batch_size of an evaluation must be at most {MAX_IMAGES}, got {self.beams} and "
                f"{self.batch_size}",
                field="beams",
                expected=f"at most {MAX_IMAGES}",
                found=self.beams * self.batch_size,
            )


@strict
class KeepSettings:
    """``[keep]``: lines of ordinary print in each batch, so that the reader does not forget how to read it.

    share: of the images of a batch. data: the name of a data set; without it, the lines.zip of the checkpoint from which
    training continues. lines: how many of these lines (at most a tenth) are held out and evaluated on their own.
    """

    share: float = field.number(0.25, above=0, at_most=0.9)
    data: str | None = field.text(None)
    lines: int = field.integer(100, at_least=0, at_most=MAX_LINES)


@strict
class CheckpointSettings:
    """``[checkpoints]``: one is written every ``every`` steps; the last ``keep`` and the best are kept."""

    every: int = field.integer(500)
    keep: int = field.integer(2)


def _default_stages() -> tuple[Stage, ...]:
    return (Stage(steps=2000, warmup=100),)


def _default_augmentation(recipe: Recipe) -> Augmentation:
    """Few lines, as fine-tuning has, need it. The data of a new model is often generated, with variety of its own."""
    return Augmentation() if recipe.model.checkpoint is None else Augmentation.usual()


@strict
class Recipe:
    """The whole file. Every table except ``[model]`` has defaults.

    augmentation: without this table, ``Augmentation.usual()`` if training continues from a checkpoint, otherwise none.
    freeze: patterns of the names of parameters that do not learn. precision: of the products in a step; weights stay float32.
    max_minutes: stop and save after this time. log: steps between two progress messages. threads: of the processor; without
    it the run chooses a number. tensorboard: also write the log for TensorBoard.
    """

    model: ModelSettings
    data: dict[str, DataSource] = attrs.field(factory=dict)
    stages: tuple[Stage, ...] = attrs.field(factory=_default_stages)
    batch: BatchSettings = attrs.field(factory=BatchSettings)
    optimizer: OptimizerSettings = attrs.field(factory=OptimizerSettings)
    loss: LossSettings = attrs.field(factory=LossSettings)
    augmentation: Augmentation = attrs.field(default=attrs.Factory(_default_augmentation, takes_self=True))
    evaluation: EvaluationSettings = attrs.field(factory=EvaluationSettings)
    keep: KeepSettings | None = None
    checkpoints: CheckpointSettings = attrs.field(factory=CheckpointSettings)
    seed: int = field.integer(0, at_least=0, at_most=2**63 - 1)
    precision: str = field.text("float32", one_of=("float32", "bfloat16", "float16"))
    gradient_checkpointing: bool = field.flag(False)
    freeze: tuple[str, ...] = recipe_fields.patterns()
    max_minutes: float | None = field.number(None, above=0, at_most=MAX_MINUTES)
    log: int = field.integer(10)
    threads: int | None = field.integer(None, at_most=MAX_THREADS)
    tensorboard: bool = field.flag(False)

    def __attrs_post_init__(self) -> None:
        if not self.stages:
            raise ConfigError("stages is empty; a run needs at least one stage", field="stages")
        if self.batch.size % self.batch.accumulation:
            raise ConfigError(
                f"batch.size ({self.batch.size}) must be a multiple of batch.accumulation ({self.batch.accumulation})",
                field="batch.size",
                expected=f"a multiple of {self.batch.accumulation}",
                found=self.batch.size,
            )
        if self.keep is not None and self.keep.data is None and self.model.checkpoint is None:
            raise ConfigError(
                "keep needs data, the name of a data set: a new model has no checkpoint whose lines it could keep",
                field="keep.data",
                expected="the name of a data set",
            )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "recipe") -> Self:
        """The recipe in the tables of a toml file. Raises ConfigError that names each wrong field; ``where`` precedes them."""
        return from_dict(cls, data, where)

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str]) -> Self:
        """The recipe in a file. Raises ConfigError: the file, the field, the expected value and the value found."""
        try:
            data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as cause:  # RecursionError: very deep tables
            raise ConfigError(f"{path}: not a recipe that can be read ({cause})", file=path) from cause
        try:
            return cls.from_dict(data, str(path))
        except ConfigError as error:
            error.file = error.file or os.fspath(path)
            raise

    def to_dict(self) -> dict[str, Any]:
        """The recipe as JSON or toml holds it."""
        data: dict[str, Any] = json.loads(json.dumps(attrs.asdict(self)))  # type: ignore[arg-type]
        return data
