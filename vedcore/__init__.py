"""vedcore: any image encoder, any text decoder, joined by one small core.

Names are loaded when they are first used: ``import vedcore`` imports no plugin and no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vedcore.errors import (
        CheckpointError as CheckpointError,
        CheckpointNotFound as CheckpointNotFound,
        ConfigError as ConfigError,
        GenerationError as GenerationError,
        ImageError as ImageError,
        InputError as InputError,
        PluginError as PluginError,
        PluginNotFound as PluginNotFound,
        SaveError as SaveError,
        TokenizerError as TokenizerError,
        VedcoreError as VedcoreError,
    )
    from vedcore.generation import (
        GenerationConfig as GenerationConfig,
    )
    from vedcore.hookspecs import (
        Adapter as Adapter,
        Backbone as Backbone,
        Checkpoint as Checkpoint,
        hookimpl as hookimpl,
    )
    from vedcore.keymap import (
        KeyMap as KeyMap,
        Rule as Rule,
    )
    from vedcore.model import (
        VisionEncoderDecoderConfig as VisionEncoderDecoderConfig,
        VisionEncoderDecoderModel as VisionEncoderDecoderModel,
    )
    from vedcore.protocols import (
        Cache as Cache,
        CrossAttention as CrossAttention,
        CrossAttentionAdapter as CrossAttentionAdapter,
        Decoder as Decoder,
        Encoder as Encoder,
        Seam as Seam,
    )
    from vedcore.reader import (
        Processor as Processor,
        Reader as Reader,
        Reading as Reading,
    )
    from vedcore.text import (
        Tokenizer as Tokenizer,
    )
    from vedcore.types import (
        EncoderOutput as EncoderOutput,
        Memory as Memory,
        Step as Step,
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
