"""What the readers of all formats fill: the labels of a folder, and the problems of its files."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from vedcore.contract.regions import Point
from vedcore.training.data.problem import Fault, Problem

IMAGE_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True, slots=True)
class Label:
    """The text of an image, or of a line of a page.

    source: its name in messages. polygon: the outline of the line on ``image``; None if ``image`` is the line.
    crop: the bytes of a PNG file of the line, if it was cut out of a page.
    """

    image: Path
    text: str
    source: str
    polygon: tuple[Point, ...] | None = None
    crop: bytes | None = field(default=None, repr=False)


@dataclass
class Collector:
    """The labels and the problems that the readers of ``folder`` have found so far. encoding: of its label files."""

    folder: Path
    encoding: str
    labels: list[Label] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @cached_property
    def images(self) -> list[Path]:
        """The images in the folder and in its subfolders, sorted."""
        return [path for path in self.files if path.suffix.lower() in IMAGE_SUFFIXES]

    @cached_property
    def files(self) -> list[Path]:
        """All files in the folder and in its subfolders, sorted."""
        return sorted(path for path in self.folder.rglob("*") if path.is_file())

    def relative(self, path: Path) -> str:
        """The path below the folder, with slashes."""
        return path.relative_to(self.folder).as_posix()

    def add(self, image: Path, text: str) -> None:
        """Add the text of an image, or the problem that the image has."""
        if not image.is_file():
            self.add_problem(Fault.missing_image, str(image), f"labelled {text[:40]!r}")
        elif not text.strip():
            self.add_problem(Fault.empty_label, str(image), "only white space" if text else "an empty text")
        else:
            self.labels.append(Label(image, text, str(image)))

    def add_problem(self, fault: Fault, source: str, detail: str) -> None:
        """Record a sample that cannot be used."""
        self.problems.append(Problem(fault, source, detail))
