"""A data folder: images and, written last, labels.jsonl beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from vedcore.errors import ConfigError
from vedcore.training import Sample


def write_labels(folder: Path, labels: Iterable[tuple[str, str]]) -> None:
    """Write labels.jsonl, a line for each (file, text): the last file of a data folder, so one without it is unfinished."""
    rows = [json.dumps({"file": file, "text": text}) + "\n" for file, text in labels]
    (folder / "labels.jsonl").write_text("".join(rows), encoding="utf-8")


def write_folder(lines: Iterable[Sample], folder: Path) -> int:
    """Write each line as a PNG and all texts to labels.jsonl; how many. Raises ConfigError: the folder is not empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is there already and not an empty folder; name a new one")
    folder.mkdir(parents=True, exist_ok=True)
    labels = []
    for number, line in enumerate(lines):
        line.image.save(folder / f"{number:06}.png")
        labels.append((f"{number:06}.png", line.text))
    write_labels(folder, labels)
    return len(labels)
