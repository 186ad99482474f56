"""Writing text: what a generation config says, what it does to scores, and the loop that decodes."""

from vedcore.generation.config import GenerationConfig
from vedcore.generation.processors import Processor, sampling_processors, score_processors

__all__ = ["GenerationConfig", "Processor", "sampling_processors", "score_processors"]
