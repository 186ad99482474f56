"""vedcore: any image encoder, any text decoder, joined by one small core.

Names are loaded when they are first used: ``import vedcore`` imports no plugin and no torch.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

from vedcore import _moved

if TYPE_CHECKING:
    from vedcore.contract.hookspecs import Adapter as Adapter
    from vedcore.contract.hookspecs import Backbone as Backbone
    from vedcore.contract.hookspecs import Checkpoint as Checkpoint
    from vedcore.contract.hookspecs import ImageProcessorType as ImageProcessorType
    from vedcore.contract.hookspecs import Segmenter as Segmenter
    from vedcore.contract.hookspecs import hookimpl as hookimpl
    from vedcore.contract.protocols import AttentionSizes as AttentionSizes
    from vedcore.contract.protocols import Cache as Cache
    from vedcore.contract.protocols import CrossAttention as CrossAttention
    from vedcore.contract.protocols import CrossAttentionAdapter as CrossAttentionAdapter
    from vedcore.contract.protocols import Decoder as Decoder
    from vedcore.contract.protocols import DecoderSizes as DecoderSizes
    from vedcore.contract.protocols import Encoder as Encoder
    from vedcore.contract.protocols import PageSegmenter as PageSegmenter
    from vedcore.contract.protocols import Seam as Seam
    from vedcore.contract.regions import BlockRegion as BlockRegion
    from vedcore.contract.regions import LineRegion as LineRegion
    from vedcore.contract.regions import PageRegion as PageRegion
    from vedcore.contract.types import EncoderOutput as EncoderOutput
    from vedcore.contract.types import Memory as Memory
    from vedcore.contract.types import Step as Step
    from vedcore.contract.types import Trace as Trace
    from vedcore.errors import CheckpointError as CheckpointError
    from vedcore.errors import CheckpointNotFound as CheckpointNotFound
    from vedcore.errors import ConfigError as ConfigError
    from vedcore.errors import GenerationError as GenerationError
    from vedcore.errors import ImageError as ImageError
    from vedcore.errors import InputError as InputError
    from vedcore.errors import PluginError as PluginError
    from vedcore.errors import PluginNotFound as PluginNotFound
    from vedcore.errors import SaveError as SaveError
    from vedcore.errors import TokenizerError as TokenizerError
    from vedcore.errors import TrainingError as TrainingError
    from vedcore.errors import VedcoreError as VedcoreError
    from vedcore.generation import GenerationConfig as GenerationConfig
    from vedcore.model import VisionEncoderDecoderConfig as VisionEncoderDecoderConfig
    from vedcore.model import VisionEncoderDecoderModel as VisionEncoderDecoderModel
    from vedcore.part import DecoderPart as DecoderPart
    from vedcore.part import Part as Part
    from vedcore.reader import Processor as Processor
    from vedcore.reader import Reader as Reader
    from vedcore.reader import Reading as Reading
    from vedcore.storage.keymap import KeyMap as KeyMap
    from vedcore.storage.keymap import Rule as Rule
    from vedcore.text import Tokenizer as Tokenizer
    from vedcore.vision import ImageProcessor as ImageProcessor

__version__ = "0.1.0"

if _moved.finder not in sys.meta_path:  # last, so that a real file of that name is found first
    sys.meta_path.append(_moved.finder)

_HOMES = {
    "contract.hookspecs": ("Adapter", "Backbone", "Checkpoint", "ImageProcessorType", "Segmenter", "hookimpl"),
    "contract.protocols": (
        "AttentionSizes",
        "Cache",
        "CrossAttention",
        "CrossAttentionAdapter",
        "Decoder",
        "DecoderSizes",
        "Encoder",
        "PageSegmenter",
        "Seam",
    ),
    "contract.regions": ("BlockRegion", "LineRegion", "PageRegion"),
    "contract.types": ("EncoderOutput", "Memory", "Step", "Trace"),
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
    "model": ("VisionEncoderDecoderConfig", "VisionEncoderDecoderModel"),
    "part": ("DecoderPart", "Part"),
    "reader": ("Processor", "Reader", "Reading"),
    "storage.keymap": ("KeyMap", "Rule"),
    "text": ("Tokenizer",),
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
