"""The device, the precision and the processes of a run, as accelerate sets them up."""

from __future__ import annotations

import os

from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState

from vedcore.errors import ConfigError, foreign
from vedcore.training.recipe import Recipe

_MIXED_PRECISIONS = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


def make_accelerator(recipe: Recipe) -> Accelerator:
    """The accelerator for the recipe's precision.

    Raises ConfigError if the device does not support the precision, if the processes of a CPU run are not connected, or if
    the batch size cannot be divided between them.
    """
    AcceleratorState._reset_state()  # an earlier run in this process may have had another precision
    with foreign(ConfigError, f"precision = {recipe.precision!r}", field="precision", found=recipe.precision):
        accelerator = Accelerator(
            mixed_precision=_MIXED_PRECISIONS[recipe.precision],
            # The loss does not use every parameter of every model: some encoders have a pooler.
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
    _check_precision(recipe, accelerator)
    _check_processes(accelerator)
    passes = recipe.batch.accumulation * accelerator.num_processes
    if recipe.batch.size % passes:
        raise ConfigError(
            f"batch.size ({recipe.batch.size}) must be a multiple of batch.accumulation times processes, {passes}",
            field="batch.size",
            expected=f"a multiple of {passes}",
            found=recipe.batch.size,
        )
    return accelerator


def _check_precision(recipe: Recipe, accelerator: Accelerator) -> None:
    if recipe.precision != "float32" and not accelerator.native_amp:
        raise ConfigError(
            f"precision = {recipe.precision!r} is not available on {accelerator.device.type}; use bfloat16 or float32",
            field="precision",
            expected="bfloat16 or float32",
            found=recipe.precision,
        )


def _check_processes(accelerator: Accelerator) -> None:
    started = os.environ.get("WORLD_SIZE", "1")  # set by torchrun; accelerate ignores it on a CPU unless configured
    if accelerator.num_processes == 1 and started.isdecimal() and int(started) > 1:
        raise ConfigError(
            f"this is one of {started} processes (WORLD_SIZE), but it is not connected to the others; on a CPU set "
            "ACCELERATE_USE_CPU=true, or start a single process",
            field="ACCELERATE_USE_CPU",
            expected="true",
            found=os.environ.get("ACCELERATE_USE_CPU"),
        )
