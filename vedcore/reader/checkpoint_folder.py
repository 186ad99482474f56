"""Find the folder of a checkpoint from its name."""

from __future__ import annotations

import os
from pathlib import Path

from vedcore.errors import CheckpointNotFound
from vedcore.registry import registry
from vedcore.storage.hub import resolve


def locate(name: str | os.PathLike[str], *, revision: str | None = None, allow_pickle: bool = False) -> Path:
    """The folder of a checkpoint: a path, the name of a checkpoint that a plugin ships, or a hub id "owner/name".

    Raises CheckpointNotFound.
    """
    if not isinstance(name, str | os.PathLike):
        raise CheckpointNotFound(
            f"{name!r} is not the name of a checkpoint; name a folder, or a repository on the hub",
            expected="a folder or a repository",
            found=name,
        )
    text = os.fsdecode(name)
    if os.path.isdir(text):  # unlike Path.is_dir, it raises no error for a name that is too long
        return Path(text)
    if registry().offers(text):
        return registry().checkpoint(text).folder
    if isinstance(name, Path) or text.count("/") != 1 or text.startswith((".", "/", "~")):
        shipped = ", ".join(registry().checkpoint_names()) or "none"
        raise CheckpointNotFound(
            f"{text}: no such folder, and no plugin ships a checkpoint of that name (shipped: {shipped}); name a folder "
            "with config.json, a shipped checkpoint, or a repository on the hub as owner/name",
            file=text,
            expected="a folder with config.json, a shipped checkpoint, or owner/name",
        )
    return resolve(text, revision=revision, allow_pickle=allow_pickle)
