"""Checks of the image processor: its images have the channels, the size and the value range that the encoder expects."""

from __future__ import annotations

import numpy as np
import torch

from vedcore.config import pair
from vedcore.diagnosis.checkpoint import PROCESSOR_FILES, OpenedCheckpoint
from vedcore.diagnosis.checks.repairs import repair
from vedcore.diagnosis.findings import Finding, Findings
from vedcore.errors import VedcoreError
from vedcore.vision import ImageProcessor

_GEOMETRY = ("do_resize", "do_center_crop", "do_align_long_axis", "do_thumbnail", "do_pad", "do_crop_margin")
"""The steps of the image processor that change the shape of an image; the others change pixel values."""


def channels_match_the_encoder(checkpoint: OpenedCheckpoint) -> Findings:
    """The encoder takes three channels, because the image processor makes RGB images."""
    channels = getattr(checkpoint.part_config("encoder"), "num_channels", 3)
    if channels != 3:
        yield Finding(
            "error",
            "image processor",
            f"encoder.num_channels is {channels} in config.json, but every image becomes 3 channels (RGB)",
            'set "num_channels": 3 for the encoder in config.json, and use weights for 3 channels',
        )


def size_matches_the_encoder(checkpoint: OpenedCheckpoint) -> Findings:
    """The image processor makes images of the encoder's size."""
    image_size, processor = getattr(checkpoint.part_config("encoder"), "image_size", None), checkpoint.image_processor
    if image_size is None or processor is None:
        return
    (height, width), output_size = pair(image_size), processor.output_size
    value = f'{{"height": {height}, "width": {width}}}'
    file = _processor_file(checkpoint)
    if output_size is None:
        yield Finding(
            "warning",
            "image processor",
            f"{file} makes images of varying sizes, but the encoder is made for {height} x {width} (height x width)",
            f'set "do_resize": true and "size": {value} in {file}',
        )
    elif output_size != (height, width):
        field = "crop_size" if processor.do_center_crop else "size"
        yield Finding(
            "error",
            "image processor",
            f"{file} makes images of {output_size[0]} x {output_size[1]}, but the encoder is made for {height} x {width} "
            "(height x width)",
            f'set "{field}": {value} in {file}',
        )


def pixels_are_normalised(checkpoint: OpenedCheckpoint) -> Findings:
    """Black becomes a negative number and white a positive one, in the range that encoders are trained with."""
    processor = checkpoint.image_processor
    if processor is None:
        return
    file = _processor_file(checkpoint)
    try:
        without_geometry = ImageProcessor.from_dict({**processor.to_dict(), **dict.fromkeys(_GEOMETRY, False)})
        black, white = (without_geometry(np.full((8, 8, 3), level, np.uint8)).pixel_values for level in (0, 255))
    except VedcoreError as error:
        yield Finding("error", "image processor", f"{file}: {error}", repair(checkpoint, "image processor"))
        return
    lowest, highest = black.amin(dim=(0, 2, 3)), white.amax(dim=(0, 2, 3))
    span = highest - lowest
    if not bool((lowest < 0).all() and (highest > 0).all() and (span >= 1).all() and (span <= 10).all()):
        yield Finding(
            "warning",
            "image processor",
            f"{file} maps black to {_per_channel(lowest)} and white to {_per_channel(highest)}; encoders are trained with "
            "about -1 and 1, or -2 and 2.5",
            'set "do_rescale": true, "rescale_factor": 0.00392156862745098, "do_normalize": true, "image_mean": '
            f'[0.5, 0.5, 0.5] and "image_std": [0.5, 0.5, 0.5] in {file}, or the values that the encoder was trained with',
        )


def _per_channel(values: torch.Tensor) -> str:
    """One number if the channels agree, otherwise the different ones."""
    return ", ".join(f"{value:.3g}" for value in dict.fromkeys(values.tolist()))


def _processor_file(checkpoint: OpenedCheckpoint) -> str:
    return next((name for name in PROCESSOR_FILES if checkpoint.has_file(name)), PROCESSOR_FILES[-1])
