"""A text file for each image: ``line.txt``, or ``line.gt.txt`` as OCR-D, kraken and tesstrain write it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vedcore.training.data.labels.collector import Collector
from vedcore.training.data.labels.decoding import read_text
from vedcore.training.data.problem import Fault

GT_SUFFIX = ".gt.txt"

_VARIANTS = (".nrm", ".bin")
"""Normalised and binarised copies of an image, whose text is that of the original."""


def read_txt_files(found: Collector, files: Sequence[Path]) -> None:
    """The text of each image that has a .txt file with its name. Raises ConfigError for one that is not in the encoding."""
    _read(found, found.images, ".txt")


def read_gt_files(found: Collector, files: Sequence[Path]) -> None:
    """The text of each image that has a .gt.txt file with its name.

    Of ``line.png``, ``line.nrm.png`` and ``line.bin.png`` the first that exists is the image of ``line.gt.txt``. Raises
    ConfigError for a file that is not in the encoding.
    """
    originals = {path.with_suffix("") for path in found.images}
    images = [path for path in found.images if not _has_better_variant(path, originals)]
    _read(found, images, GT_SUFFIX)
    labelled = {_label_of(path, GT_SUFFIX) for path in images}
    for path in files:
        if path not in labelled:
            found.add_problem(Fault.missing_image, str(path), "there is no image with this name")


def _has_better_variant(path: Path, originals: set[Path]) -> bool:
    stem = path.with_suffix("")
    if stem.suffix not in _VARIANTS:
        return False
    better = ("", *_VARIANTS[: _VARIANTS.index(stem.suffix)])
    return any(stem.with_suffix(suffix) in originals for suffix in better)


def _read(found: Collector, images: Sequence[Path], suffix: str) -> None:
    sharing: dict[Path, list[Path]] = {}
    for image in images:
        sharing.setdefault(_label_of(image, suffix), []).append(image)
    for label, (image, *others) in sharing.items():
        for other in others:
            detail = f"{label.name} is also the label of {found.relative(image)}"
            found.add_problem(Fault.two_labels, str(other), detail)
        if not label.is_file():
            found.add_problem(Fault.no_label, str(image), f"there is no {label.name}")
        elif not others:
            found.add(image, read_text(label, found.encoding).rstrip("\r\n"))


def _label_of(image: Path, suffix: str) -> Path:
    stem = image.with_suffix("")
    if suffix == GT_SUFFIX and stem.suffix in _VARIANTS:
        stem = stem.with_suffix("")
    return stem.parent / f"{stem.name}{suffix}"
