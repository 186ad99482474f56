"""Check that the encoder accepts the images that the image processor makes, before any image is processed."""

from __future__ import annotations

import copy
from typing import Any

import torch

from vedcore.config import pair
from vedcore.errors import ConfigError, InputError
from vedcore.vision import ImageProcessor


def check_image_size(encoder: Any, image_processor: ImageProcessor) -> None:
    """Raises ConfigError if the encoder does not accept the output size of the image processor.

    If the size is not the one in the encoder's config, a copy of the encoder without weights runs once: many encoders
    accept every size.
    """
    made = image_processor.output_size
    size = getattr(getattr(encoder, "config", None), "image_size", None)
    if size is None or made is None or pair(size) == made:
        return
    weights: dict[int, Any] = {
        id(tensor): torch.empty_like(tensor, device="meta") for tensor in (*encoder.parameters(), *encoder.buffers())
    }
    try:
        with torch.inference_mode():
            copy.deepcopy(encoder, weights)(torch.empty(1, 3, *made, device="meta"))
    except InputError as error:
        raise ConfigError(
            f"the image processor makes images of {made[0]} x {made[1]} pixels, but the encoder is made for "
            f"{' x '.join(map(str, pair(size)))} (height x width) and does not accept others; in preprocessor_config.json "
            "set size, and crop_size if it is used, to the encoder's size",
            field="size",
            expected=pair(size),
            found=made,
        ) from error
    except Exception:  # the encoder cannot run without weights: the first image will show it
        return
