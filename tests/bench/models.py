"""The two libraries under comparison, and their models loaded from a checkpoint."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # both libraries read these when they are imported
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

TRANSFORMERS, VEDCORE, UNPREPARED = "transformers", "vedcore", "vedcore, unprepared"


def model_class(library: str) -> Any:
    """The VisionEncoderDecoderModel of a library. Imports only that library, so that memory is measured alone."""
    if library == TRANSFORMERS:
        import transformers

        return transformers.VisionEncoderDecoderModel
    import vedcore

    return vedcore.VisionEncoderDecoderModel


def inference_libraries() -> tuple[str, ...]:
    """The rows of an inference table: one more if vedcore's models have ``prepare``, for the model as it was loaded."""
    unprepared = (UNPREPARED,) if hasattr(model_class(VEDCORE), "prepare") else ()
    return (TRANSFORMERS, VEDCORE, *unprepared)


def load_for_inference(library: str, folder: str | Path) -> Any:
    """The model in eval mode, and prepared for inference if ``library`` is ``vedcore`` and the model can be prepared."""
    model = model_class(library).from_pretrained(folder).eval()
    if library == VEDCORE and hasattr(model, "prepare"):
        model.prepare()
    return model
