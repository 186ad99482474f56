"""pieces.jsonl: how the long lines of a run are cut, so that a resumed run learns from the same pieces.

The first line says how many lines follow; each is a ``Cut`` with the use and the name of its data set.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from vedcore.config import from_dict
from vedcore.errors import CheckpointError, ConfigError, foreign
from vedcore.storage.files import parse_json
from vedcore.storage.whole_file import whole_file
from vedcore.training.data.pieces import Cut

PIECES_FILE = "pieces.jsonl"

Cuts = Mapping[str, Mapping[int, Cut]]
"""The cuts by the use and the name of the data set ("learn: train") and the index of the line."""


def write_cuts(run: Path, cuts: Cuts) -> None:
    """Write the file completely or not at all. Raises SaveError."""
    rows = [
        {"data": name, "line": cut.line, "rule": cut.rule, "texts": cut.texts}
        for name, found in cuts.items()
        for cut in found.values()
    ]
    with whole_file(run / PIECES_FILE) as path:
        lines = [json.dumps(row, ensure_ascii=False) for row in ({"lines": len(rows)}, *rows)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_cuts(run: Path, lengths: Mapping[str, int]) -> dict[str, dict[int, Cut]]:
    """The cuts of data sets with these numbers of lines. Raises CheckpointError if the file is missing or damaged."""
    path = run / PIECES_FILE
    if not path.is_file():
        raise CheckpointError(
            f"{path}: is missing; it says how the long lines of this run are cut. Start again in another folder",
            file=path,
        )
    with foreign(CheckpointError, f"{path}: cannot be read", file=path):
        head, *rows = path.read_bytes().splitlines() or [b""]
    cuts: dict[str, dict[int, Cut]] = {name: {} for name in lengths}
    try:
        count = parse_json(head, f"{path}:1", file=path).get("lines")
        if count != len(rows):
            raise ConfigError(f"{path}: has {len(rows)} cut lines, expected {count}", file=path, found=len(rows))
        for number, row in enumerate(rows, 2):
            where = f"{path}:{number}"
            record = parse_json(row, where, file=path)
            name = record.pop("data", "")
            cut = from_dict(Cut, record, where)
            if (
                not isinstance(name, str | None)
                or name not in cuts
                or cut.line >= lengths[name]
                or cut.line in cuts[name]
            ):
                raise ConfigError(f"{where}: no line {cut.line} in {name!r}, or a second one", file=path)
            cuts[name][cut.line] = cut
    except ConfigError as cause:
        raise CheckpointError(f"{cause}; start again in another folder", file=path) from cause
    return cuts
