"""The image processor and the tokenizer of a checkpoint, in one object."""

from __future__ import annotations

import os
from typing import Any, Literal, Self

from vedcore.contract.types import Batch
from vedcore.errors import InputError
from vedcore.storage.hub import resolve
from vedcore.text import Tokenizer
from vedcore.vision import ImageProcessor


class Processor:
    """An image processor and a tokenizer: the files of a checkpoint beside its weights."""

    def __init__(self, image_processor: ImageProcessor, tokenizer: Tokenizer) -> None:
        self.image_processor, self.tokenizer = image_processor, tokenizer

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str], *, revision: str | None = None) -> Self:
        """The processor of a folder or a hub id. Raises CheckpointNotFound, ConfigError or TokenizerError."""
        folder = resolve(name, revision=revision, weights=False)
        return cls(ImageProcessor.from_pretrained(folder), Tokenizer.from_pretrained(folder))

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write the files of both to ``folder``; transformers can read them. Raises SaveError."""
        self.image_processor.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def __call__(
        self, images: Any = None, text: Any = None, *, return_tensors: Literal["pt", "np"] = "pt", **text_options: Any
    ) -> Batch:
        """Images -> ``pixel_values`` (B, 3, h, w); text -> ``input_ids`` (B, T); both -> ``pixel_values`` and ``labels``.

        ``text_options`` are arguments of the tokenizer. Raises InputError without images and text, ImageError for an image
        that cannot be read or an empty list, and TokenizerError.
        """
        if images is None and text is None:
            raise InputError("a processor needs images, a text, or both", expected="images, a text, or both")
        batch = Batch()
        if images is not None:
            batch.update(self.image_processor(images, return_tensors=return_tensors))
        if text is not None:
            encoded = self.tokenizer(text, return_tensors=return_tensors, **text_options)
            batch.update({"labels": encoded["input_ids"]} if images is not None else encoded)
        return batch

    def batch_decode(self, ids: Any, *, skip_special_tokens: bool = False) -> list[str]:
        """(B, T) ids -> B texts, by ``Tokenizer.batch_decode``."""
        return self.tokenizer.batch_decode(ids, skip_special_tokens=skip_special_tokens)

    def decode(self, ids: Any, *, skip_special_tokens: bool = False) -> str:
        """(T,) ids -> a text, by ``Tokenizer.decode``."""
        return self.tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)
