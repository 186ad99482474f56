"""The two libraries under comparison, and their models loaded from a checkpoint."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # both libraries read these when they are imported
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

TRANSFORMERS, VEDCORE, UNPREPARED = "transformers", "vedcore", "vedcore, unprepared"
INFERENCE = (TRANSFORMERS, VEDCORE, UNPREPARED)
"""The rows of an inference table; the last is the model as it was loaded."""


def model_class(library: str) -> Any:
    """The VisionEncoderDecoderModel of a library. Imports only that library, so that memory is measured alone."""
    if library == TRANSFORMERS:
        import transformers

        return transformers.VisionEncoderDecoderModel
    import vedcore

    return vedcore.VisionEncoderDecoderModel


def load_for_inference(library: str, folder: str | Path) -> Any:
    """The model in eval mode, and prepared for inference if ``library`` is ``vedcore``."""
    model = model_class(library).from_pretrained(folder).eval()
    if library == VEDCORE:
        model.prepare()
    return model
