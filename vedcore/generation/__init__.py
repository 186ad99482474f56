"""Generation of text: from the memory of images to token ids.

``config`` has the settings, and ``request`` turns a call into a ``session`` of rows that grow by one token per step. A
``strategy`` chooses the tokens: ``one_text`` (greedy, sampling) or ``beams``, with ``processors`` of scores and ``rules`` for
the end. ``run`` collects the output.
"""

from vedcore.generation.cache import SelfCache
from vedcore.generation.config import OUTPUT_FIELDS, GenerationConfig
from vedcore.generation.loop import Loop, TorchLoop
from vedcore.generation.past import PastKeyValues
from vedcore.generation.processors import Processor, sampling_processors, score_processors
from vedcore.generation.request import Request, length_limit
from vedcore.generation.rules import StopRule
from vedcore.generation.run import GenerationOutput, generate, stream
from vedcore.generation.session import Session
from vedcore.generation.strategy import StreamedTokens

__all__ = [
    "OUTPUT_FIELDS",
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
    "length_limit",
    "sampling_processors",
    "score_processors",
    "stream",
]
