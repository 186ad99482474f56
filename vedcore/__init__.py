"""vedcore: any image encoder, any text decoder, joined by one small core.

Names are loaded when they are first used: ``import vedcore`` imports no plugin and no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vedcore.errors import (
        CheckpointError as CheckpointError,
    )
    from vedcore.errors import (
        CheckpointNotFound as CheckpointNotFound,
    )
    from vedcore.errors import (
        ConfigError as ConfigError,
    )
    from vedcore.errors import (
        GenerationError as GenerationError,
    )
    from vedcore.errors import (
        ImageError as ImageError,
    )
    from vedcore.errors import (
        InputError as InputError,
    )
    from vedcore.errors import (
        PluginError as PluginError,
    )
    from vedcore.errors import (
        PluginNotFound as PluginNotFound,
    )
    from vedcore.errors import (
        SaveError as SaveError,
    )
    from vedcore.errors import (
        TokenizerError as TokenizerError,
    )
    from vedcore.errors import (
        TrainingError as TrainingError,
    )
    from vedcore.errors import (
        VedcoreError as VedcoreError,
    )
    from vedcore.generation import (
        GenerationConfig as GenerationConfig,
    )
    from vedcore.hookspecs import (
        Adapter as Adapter,
    )
    from vedcore.hookspecs import (
        Backbone as Backbone,
    )
    from vedcore.hookspecs import (
        Checkpoint as Checkpoint,
    )
    from vedcore.hookspecs import (
        hookimpl as hookimpl,
    )
    from vedcore.keymap import (
        KeyMap as KeyMap,
    )
    from vedcore.keymap import (
        Rule as Rule,
    )
    from vedcore.model import (
        VisionEncoderDecoderConfig as VisionEncoderDecoderConfig,
    )
    from vedcore.model import (
        VisionEncoderDecoderModel as VisionEncoderDecoderModel,
    )
    from vedcore.protocols import (
        Cache as Cache,
    )
    from vedcore.protocols import (
        CrossAttention as CrossAttention,
    )
    from vedcore.protocols import (
        CrossAttentionAdapter as CrossAttentionAdapter,
    )
    from vedcore.protocols import (
        Decoder as Decoder,
    )
    from vedcore.protocols import (
        Encoder as Encoder,
    )
    from vedcore.protocols import (
        Seam as Seam,
    )
    from vedcore.reader import (
        Processor as Processor,
    )
    from vedcore.reader import (
        Reader as Reader,
    )
    from vedcore.reader import (
        Reading as Reading,
    )
    from vedcore.text import (
        Tokenizer as Tokenizer,
    )
    from vedcore.types import (
        EncoderOutput as EncoderOutput,
    )
    from vedcore.types import (
        Memory as Memory,
    )
    from vedcore.types import (
        Step as Step,
    )
    from vedcore.types import (
        Trace as Trace,
    )
    from vedcore.vision import (
        ImageProcessor as ImageProcessor,
    )

__version__ = "0.1.0"

_HOMES = {
    "errors": (
        "CheckpointError",
        "CheckpointNotFound",
        "ConfigError",
        "GenerationError",
        "ImageError",
        "InputError",
        "PluginError",
        "PluginNotFound",
        "SaveError",
        "TokenizerError",
        "TrainingError",
        "VedcoreError",
    ),
    "generation": ("GenerationConfig",),
    "hookspecs": ("Adapter", "Backbone", "Checkpoint", "hookimpl"),
    "keymap": ("KeyMap", "Rule"),
    "model": ("VisionEncoderDecoderConfig", "VisionEncoderDecoderModel"),
    "protocols": ("Cache", "CrossAttention", "CrossAttentionAdapter", "Decoder", "Encoder", "Seam"),
    "reader": ("Processor", "Reader", "Reading"),
    "text": ("Tokenizer",),
    "types": ("EncoderOutput", "Memory", "Step", "Trace"),
    "vision": ("ImageProcessor",),
}
_HOME = {name: f"vedcore.{home}" for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)  # noqa: PLE0605 (the imports above say the same to a type checker)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'vedcore' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
