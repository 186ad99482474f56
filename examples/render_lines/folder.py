"""Write a folder that ``vedcore train`` reads: images, and labels.jsonl, which is written last."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from vedcore.errors import ConfigError
from vedcore.training import Sample


def write_labels(folder: Path, labels: Iterable[tuple[str, str]]) -> None:
    """Write labels.jsonl with a line for each (file, text). It is written last, so a folder without it is incomplete."""
    rows = [json.dumps({"file": file, "text": text}) + "\n" for file, text in labels]
    (folder / "labels.jsonl").write_text("".join(rows), encoding="utf-8")


def write_folder(lines: Iterable[Sample], folder: Path) -> int:
    """Write each line as a PNG and all texts to labels.jsonl. Returns the number of lines.

    Raises ConfigError if the folder is not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} exists and is not an empty folder; name a new one", file=folder)
    folder.mkdir(parents=True, exist_ok=True)
    labels = []
    for number, line in enumerate(lines):
        line.image.save(folder / f"{number:06}.png")
        labels.append((f"{number:06}.png", line.text))
    write_labels(folder, labels)
    return len(labels)
