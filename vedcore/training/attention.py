"""Where the decoder looks for each letter that it reads: the cross-attention over the picture of a line.

Shapes: T tokens, H heads, S encoder states, (h, w) grid of patches, w columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vedcore.model import VisionEncoderDecoderModel
from vedcore.reader import Reader
from vedcore.text import StreamingDecoder, Tokenizer
from vedcore.vision import ImageProcessor

MAX_TOKENS = 200
"""The letters of longer texts are not followed further."""


@dataclass(frozen=True, slots=True)
class Letter:
    """text: what a token adds to the text, mostly one letter. attention: (w,) its shares of the columns, sum 1; or None if
    the states that the decoder reads have no place in the picture.
    """

    text: str
    attention: NDArray[np.float32] | None

    def place(self, share: float = 0.5) -> float:
        """The fraction of the width that has ``share`` of the attention on its left. Raises ValueError without attention."""
        if self.attention is None:
            raise ValueError(f"{self.text!r} has no attention")
        below = np.concatenate([[0.0], np.cumsum(self.attention)])
        return float(np.interp(share * below[-1], below, np.linspace(0, 1, len(below))))


@dataclass(frozen=True, slots=True)
class SeenRow:
    """A row as the model saw it. pixels: (H, W, 3) uint8, after the image processor. aspect: width by height of what they show
    before it was stretched. letters: of the text that was read.
    """

    pixels: NDArray[np.uint8]
    aspect: float
    letters: tuple[Letter, ...]


@torch.inference_mode()
def look(reader: Reader, image: Any, *, beams: int = 1, cut: bool = True) -> tuple[SeenRow, ...]:
    """Read an image again, and record where the decoder looks: one row, or the pieces of a line that is cut.

    Raises the errors of ``Reader.read``.
    """
    process, rows = reader.processor.image_processor, reader.rows(image, layout="line" if cut else "whole")
    with _evaluating(reader.model):
        return tuple(_look_at(reader, process, row, beams) for row in rows)


def _look_at(reader: Reader, process: ImageProcessor, row: Any, beams: int) -> SeenRow:
    model = reader.model
    pixels = torch.from_numpy(process(row, return_tensors="np")["pixel_values"]).to(model.device)
    ids = model.generate(pixels, num_beams=beams, num_return_sequences=1, return_dict_in_generate=False)
    ids = ids[:, : MAX_TOKENS + 1]
    attention = column_attention(model, pixels, ids)
    shown = as_picture(pixels[0].float().cpu().numpy(), process)
    is_stretched = not (process.do_pad or process.do_thumbnail or process.do_center_crop or process.do_align_long_axis)
    width, height = row.size if is_stretched else shown.shape[1::-1]
    return SeenRow(shown, width / height, letters_of(reader.processor.tokenizer, ids[0].tolist()[1:], attention))


@torch.inference_mode()
def column_attention(model: VisionEncoderDecoderModel, pixels: Any, ids: Any) -> NDArray[np.float32] | None:
    """(1, C, height, width) pixels and the (1, 1 + T) ids that were read -> (T, w), each row with the sum 1.

    It is the mean over the heads of one layer, summed over the rows of the grid. The states that are no patches, such as a
    class token, do not count. Returns None without cross-attention, or if its states form no grid.
    """
    encoded = model.encode(pixels)
    states = model.bridge(encoded)
    output = model(encoder_outputs=encoded, decoder_input_ids=ids[:, :-1], use_cache=False, output_attentions=True)
    if states.grid is None or not output.cross_attentions:
        return None
    rows, columns = states.grid
    heads = torch.stack([layer[0].float().mean(0) for layer in output.cross_attentions])  # (layers, T, S)
    shares = heads[:, :, states.extra :].reshape(*heads.shape[:2], rows, columns).sum(2)
    return clearest((shares / shares.sum(2, keepdim=True).clamp(min=1e-12)).cpu().numpy())


def clearest(layers: NDArray[np.float32]) -> NDArray[np.float32]:
    """(layers, T, w) -> (T, w): the layer that looks at narrow places, and at different ones for different letters.

    Some layers of a decoder spread their attention over the line, and some always look at the same patch.
    """
    columns = (np.arange(layers.shape[2]) + 0.5) / layers.shape[2]
    places = layers @ columns  # (layers, T)
    spreads = (layers * (columns - places[..., None]) ** 2).sum(2)
    chosen: NDArray[np.float32] = layers[int(np.argmax(places.var(1) / (spreads.mean(1) + 1e-6)))]
    return chosen


def letters_of(tokenizer: Tokenizer, ids: list[int], attention: NDArray[np.float32] | None) -> tuple[Letter, ...]:
    """The letters that T ``ids`` add to the text, one after the other, with their rows of ``attention`` (T, w).

    If a letter consists of several tokens, its attention is their mean.
    """
    decoder, letters, start = StreamingDecoder(tokenizer), [], 0
    for at, token in enumerate(ids):
        length = len(decoder.text)
        decoder.add([token], last=at == len(ids) - 1)
        if text := decoder.text[length:]:
            letters.append(Letter(text, None if attention is None else attention[start : at + 1].mean(0)))
            start = at + 1
    return tuple(letters)


def as_picture(pixels: NDArray[np.float32], process: ImageProcessor) -> NDArray[np.uint8]:
    """(3, h, w) pixel values -> (h, w, 3) uint8: undoes the normalization and rescaling of the image processor."""
    values: NDArray[np.float32] = pixels.transpose(1, 2, 0)
    if process.do_normalize and process.image_mean is not None and process.image_std is not None:
        values = values * np.array(process.image_std) + np.array(process.image_mean)
    if process.do_rescale:
        values = values / (process.rescale_factor or 1)
    return values.round().clip(0, 255).astype(np.uint8)


@contextmanager
def _evaluating(model: VisionEncoderDecoderModel) -> Iterator[None]:
    """Switch dropout off for a while."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
