"""Labelled lines, read once for all checks of data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vedcore.errors import ImageError, VedcoreError
from vedcore.vision import load_image

OPENED_IMAGES = 500
"""The number of images that are opened for their sizes."""


@dataclass(frozen=True, slots=True)
class LabelledLines:
    """The lines of a data set.

    sources, texts: of the samples. sizes: width and height of the first images. problems: the samples that cannot be used,
    each as its fault and a description.
    """

    sources: tuple[str, ...]
    texts: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    problems: tuple[tuple[str, str], ...]


def read_lines(data: Any) -> LabelledLines:
    """The texts of a data set such as ``vedcore.training.Folder``, and the sizes of its first images."""
    problems = [
        (str(problem.fault), f"{problem.source}: {problem.detail}") for problem in getattr(data, "problems", ())
    ]
    sources, texts, sizes = [], [], []
    for index in range(len(data)):
        try:
            sample = data[index]
            if index < OPENED_IMAGES:
                sizes.append(load_image(sample.image).size)
        except VedcoreError as error:
            fault = "unreadable image" if isinstance(error, ImageError) else "bad sample"
            problems.append((fault, str(error)))
        else:
            sources.append(sample.source)
            texts.append(sample.text)
    return LabelledLines(tuple(sources), tuple(texts), tuple(sizes), tuple(problems))
