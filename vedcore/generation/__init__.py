"""Writing text: what a generation config says, what it does to scores, and the loop that decodes."""

from vedcore.generation.cache import PastKeyValues, SelfCache
from vedcore.generation.config import OUTPUTS, GenerationConfig
from vedcore.generation.engine import new_cache
from vedcore.generation.processors import Processor, sampling_processors, score_processors
from vedcore.generation.rules import StopRule
from vedcore.generation.run import GenerationOutput, StreamedTokens, generate, stream
from vedcore.generation.task import Task

__all__ = [
    "OUTPUTS",
    "GenerationConfig",
    "GenerationOutput",
    "PastKeyValues",
    "Processor",
    "SelfCache",
    "StopRule",
    "StreamedTokens",
    "Task",
    "generate",
    "new_cache",
    "sampling_processors",
    "score_processors",
    "stream",
]
