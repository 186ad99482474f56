"""ALTO and PAGE files: each line of text is cut out of the image of its page."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from vedcore.errors import ConfigError, ImageError
from vedcore.training.data.labels.alto import read_alto
from vedcore.training.data.labels.collector import Collector, Label
from vedcore.training.data.labels.page_lines import Outline, PageLine, PageText
from vedcore.training.data.labels.page_xml import read_page_xml
from vedcore.training.data.labels.xml_tree import read_xml
from vedcore.training.data.problem import Fault
from vedcore.vision import cut_outline, load_image

READERS: dict[str, Callable[[Element], PageText]] = {"alto": read_alto, "PcGts": read_page_xml}
"""The reader of a file, by its root element."""

_ROOT = re.compile(rb"<(?:[\w.-]+:)?(?:%s)[\s>]" % b"|".join(name.encode() for name in READERS))
_HEAD = 8192  # bytes, in which the root element begins
_TOLERANCE = 2.0  # pixels between the size in the file and that of the image


def is_page_file(path: Path) -> bool:
    """Whether a file looks like ALTO or PAGE. Folders of pages contain other XML files, such as METS."""
    with path.open("rb") as file:
        return _ROOT.search(file.read(_HEAD).replace(b"\0", b"")) is not None  # UTF-16 has zeros


def read_pages(found: Collector, files: Sequence[Path]) -> None:
    """The lines of every page. Opens the images, since opening a page again for each of its lines would take long."""
    used: dict[Path, Path] = {}
    for path in files:
        try:
            root = read_xml(path)
            page = READERS[root.tag](root) if root.tag in READERS else None
        except ConfigError as error:
            found.add_problem(Fault.bad_file, *_place_of(error, path))
            continue
        if page is None:
            found.add_problem(Fault.bad_file, str(path), f"expected ALTO or PAGE, found the element {root.tag!r}")
        elif (image := _image_of(found, path, page)) is not None:
            if image in used:
                detail = f"{path.name} and {used[image].name} have its lines; keep one of them"
                found.add_problem(Fault.two_labels, str(image), detail)
            else:
                used[image] = path
                _add_lines(found, path, page, image)
    for image in found.images:
        if image not in used:
            found.add_problem(Fault.no_label, str(image), "no ALTO or PAGE file names it")


def _place_of(error: ConfigError, path: Path) -> tuple[str, str]:
    """The line of a file, or the file, and what was found there."""
    line, _, found = str(error).removeprefix(f"{path}:").partition(": ")
    return (f"{path}:{line}", found) if line.isdecimal() else (str(path), str(error))


def _image_of(found: Collector, path: Path, page: PageText) -> Path | None:
    """The image of a page: next to its file, or in the folder above, where Transkribus and OCR-D have it."""
    if page.image is None:
        found.add_problem(Fault.missing_image, str(path), "the file names no image")
        return None
    name = page.image.removeprefix("file://").replace("\\", "/")
    beside = found.relative(path.parent)
    for folder in (beside, os.path.join(beside, "..")):
        for file in (name, os.path.basename(name)):
            place = os.path.normpath(os.path.join(folder, file))
            if not place.startswith(("..", os.sep)) and os.path.isfile(found.folder / place):
                return found.folder / place
    detail = f"it names {page.image[:80]!r}, which is neither next to it nor in a folder above that belongs to {found.folder}"
    found.add_problem(Fault.missing_image, str(path), detail)
    return None


def _add_lines(found: Collector, path: Path, page: PageText, image: Path) -> None:
    if not page.lines:
        found.add_problem(Fault.empty_label, str(path), "no lines of text")
        return
    try:
        picture = load_image(image)
    except ImageError as error:
        found.add_problem(Fault.unreadable_image, str(image), str(error))
        return
    size = page.size
    if page.in_pixels and size and max(abs(a - b) for a, b in zip(size, picture.size, strict=True)) > _TOLERANCE:
        detail = f"it describes {size[0]:.0f} x {size[1]:.0f} pixels, but {image.name} has {picture.width} x {picture.height}"
        found.add_problem(Fault.bad_file, str(path), detail)
    elif not page.in_pixels and size is None:
        found.add_problem(Fault.bad_file, str(path), "its unit is not the pixel, and it has no size of the page")
    else:
        scale = (1.0, 1.0) if page.in_pixels or size is None else (picture.width / size[0], picture.height / size[1])
        for line in page.lines:
            _add_line(found, f"{path}:{line.number}", line, image, picture, scale)


def _add_line(
    found: Collector, source: str, line: PageLine, image: Path, picture: Any, scale: tuple[float, float]
) -> None:
    if not line.text:
        found.add_problem(Fault.empty_label, source, f"line {line.name!r} has no text")
    elif line.outline is None:
        found.add_problem(Fault.no_outline, source, f"line {line.name!r} has neither a polygon nor a box")
    else:
        outline: Outline = tuple((x * scale[0], y * scale[1]) for x, y in line.outline)
        try:
            crop = cut_outline(picture, outline)
        except ImageError as error:
            found.add_problem(Fault.no_outline, source, f"line {line.name!r}: {error}")
        else:
            found.labels.append(Label(image, line.text, source, outline, crop))
