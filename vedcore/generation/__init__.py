"""Generation of text: settings, logits processors, sessions of rows, and the strategies that choose their tokens."""

from vedcore.generation.cache import SelfCache
from vedcore.generation.config import OUTPUTS, GenerationConfig
from vedcore.generation.loop import Loop, TorchLoop
from vedcore.generation.past import PastKeyValues
from vedcore.generation.processors import Processor, sampling_processors, score_processors
from vedcore.generation.request import Request
from vedcore.generation.rules import StopRule
from vedcore.generation.run import GenerationOutput, StreamedTokens, generate, stream
from vedcore.generation.session import Session

__all__ = [
    "OUTPUTS",
    "GenerationConfig",
    "GenerationOutput",
    "Loop",
    "PastKeyValues",
    "Processor",
    "Request",
    "SelfCache",
    "Session",
    "StopRule",
    "StreamedTokens",
    "TorchLoop",
    "generate",
    "sampling_processors",
    "score_processors",
    "stream",
]
