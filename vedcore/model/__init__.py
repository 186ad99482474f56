"""An encoder, a bridge and a decoder as one model, its config and what it returns."""

from vedcore.model.config import VisionEncoderDecoderConfig
from vedcore.model.facade import UntrainedWarning, VisionEncoderDecoderModel
from vedcore.model.output import VisionEncoderDecoderOutput

__all__ = ["UntrainedWarning", "VisionEncoderDecoderConfig", "VisionEncoderDecoderModel", "VisionEncoderDecoderOutput"]
