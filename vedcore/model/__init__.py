"""A model of an encoder and a decoder: ``core`` computes, ``facade`` has the documented arguments and outputs."""

from vedcore.model.config import VisionEncoderDecoderConfig
from vedcore.model.facade import VisionEncoderDecoderModel
from vedcore.model.output import VisionEncoderDecoderOutput
from vedcore.model.untrained import UntrainedWarning

__all__ = ["UntrainedWarning", "VisionEncoderDecoderConfig", "VisionEncoderDecoderModel", "VisionEncoderDecoderOutput"]
