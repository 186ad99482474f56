"""The lines of text that an ALTO or a PAGE file describes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from vedcore.contract.regions import Point

Outline = tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class PageLine:
    """A line. number: its line number in the file. text, outline: None if the file has none."""

    number: int
    name: str
    text: str | None
    outline: Outline | None


@dataclass(frozen=True, slots=True)
class PageText:
    """A page. image: the name of its image, None if the file has none.

    size: the width and the height of the page, in the units of the outlines; None if the file does not say.
    in_pixels: whether these units are pixels of the image.
    """

    image: str | None
    size: tuple[float, float] | None
    in_pixels: bool
    lines: tuple[PageLine, ...]


def outline_of(points: str) -> Outline | None:
    """The points of ``"1,2 3,4 5,6"`` or ``"1 2 3 4 5 6"``; None for fewer than three, or for anything else."""
    try:
        numbers = [float(number) for number in re.split(r"[\s,]+", points.strip())]
    except ValueError:
        return None
    if len(numbers) < 6 or len(numbers) % 2 or not all(abs(number) < 1e6 for number in numbers):
        return None
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def size_of(element: Element, width: str, height: str) -> tuple[float, float] | None:
    """Two attributes of an element as numbers above 0; None if it does not have them."""
    try:
        size = float(element.get(width, "")), float(element.get(height, ""))
    except ValueError:
        return None
    return size if min(size) > 0 else None


def in_one_line(text: str) -> str:
    """A text without line breaks and without spaces around it."""
    return re.sub(r"[ \t]*[\r\n\t]+[ \t]*", " ", text.strip())
