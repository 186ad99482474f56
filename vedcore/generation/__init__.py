"""Writing text: what a generation config says, what it does to scores, and the loop that decodes."""

from vedcore.generation.cache import PastKeyValues, SelfCache
from vedcore.generation.config import GenerationConfig
from vedcore.generation.engine import new_cache
from vedcore.generation.processors import Processor, sampling_processors, score_processors
from vedcore.generation.run import GenerationOutput, generate

__all__ = [
    "GenerationConfig",
    "GenerationOutput",
    "PastKeyValues",
    "Processor",
    "SelfCache",
    "generate",
    "new_cache",
    "sampling_processors",
    "score_processors",
]
