"""The dry run: the model reads a blank and a noise image."""

from __future__ import annotations

import numpy as np
import torch

from vedcore.config import pair
from vedcore.diagnosis.checkpoint import OpenedCheckpoint
from vedcore.diagnosis.findings import Finding, Findings
from vedcore.errors import GenerationError, InputError, VedcoreError, foreign
from vedcore.model import VisionEncoderDecoderModel

MAX_NEW_TOKENS = 128
"""The number of tokens after which the dry run no longer waits for an end token."""


def dry_run(checkpoint: OpenedCheckpoint) -> Findings:
    """The whole model reads a blank and a noise image, and both texts end."""
    processor = checkpoint.image_processor
    if processor is None:
        return
    size = processor.output_size or pair(getattr(checkpoint.part_config("encoder"), "image_size", 64))
    blank = np.full((*size, 3), 255, np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, blank.shape, dtype=np.uint8)
    try:
        with foreign(InputError, "the dry run"):
            model = VisionEncoderDecoderModel.from_pretrained(checkpoint.folder, allow_pickle=checkpoint.allow_pickle)
            output = model.generate(
                processor([blank, noise]).pixel_values,
                generator=torch.Generator().manual_seed(0),
                max_new_tokens=MAX_NEW_TOKENS,
                return_dict_in_generate=True,
            )
    except VedcoreError as error:
        fix = "correct what the message names, in config.json or in generation_config.json"
        if isinstance(error, GenerationError):
            fix = "load the model with dtype=torch.float32 and save it; if that fails too, train it again"
        yield Finding("error", "dry run", f"reading a blank and a noise image failed: {error}", fix)
        return
    reasons = output.stop_reasons
    per_image = len(reasons) // 2
    endless = [
        name
        for i, name in enumerate(("a blank", "a noise"))
        if "eos" not in reasons[i * per_image : (i + 1) * per_image]
    ]
    if endless:
        count = int(output.lengths.max()) - 1
        yield Finding(
            "warning",
            "dry run",
            f"{' and '.join(endless)} image gave {count} tokens and no end token",
            "train with the end token after every label; until then, no_repeat_ngram_size breaks repetitions and max_length "
            "limits the text",
        )
