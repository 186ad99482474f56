"""A model of an encoder and a decoder.

``core`` computes: read it first. ``facade`` has the documented arguments and outputs, and ``checks`` refuses wrong arguments.
``files`` loads and saves, ``compose`` joins two parts, ``adapters`` connect them, ``prepare`` builds the inference form.
``editing`` has the methods that change weights, ``groups`` chooses parameters by their names, ``vocabulary`` changes the
tokens. ``labels`` and ``loss`` are for training.
"""

from vedcore.model.config import VisionEncoderDecoderConfig
from vedcore.model.facade import VisionEncoderDecoderModel
from vedcore.model.output import VisionEncoderDecoderOutput
from vedcore.model.untrained import UntrainedWarning

__all__ = ["UntrainedWarning", "VisionEncoderDecoderConfig", "VisionEncoderDecoderModel", "VisionEncoderDecoderOutput"]
