"""A path or a hub id becomes a folder. The only file that knows huggingface_hub."""

from __future__ import annotations

import os
import re
from pathlib import Path

from vedcore.errors import CheckpointNotFound, foreign

FILES = ("*.json", "*.txt", "*.model")
"""What is fetched of a repository on the hub beside its weights; those in pickles only where they are asked for."""

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def resolve(
    name: str | os.PathLike[str],
    *,
    revision: str | None = None,
    weights: bool = True,
    allow_pickle: bool = False,
    offline: bool = False,
) -> Path:
    """The folder that ``name`` stands for: a path, or the id of a repository on the hub, fetched into its cache.

    weights: fetch them too. offline: only what the cache has. Raises CheckpointNotFound with what was asked, and why it is
    not there.
    """
    text = str(name)
    with foreign(CheckpointNotFound, f"{text[:200]}: no such folder"):  # an unknown ~user, a name that is too long
        path = Path(name).expanduser()
        is_folder, exists = path.is_dir(), path.exists()
    if is_folder:
        return path
    if exists:
        raise CheckpointNotFound(f"{path} is a file; name the folder that holds it")
    if not _HUB_ID.fullmatch(text) or text.startswith((".", "-")) or ".." in text:
        raise CheckpointNotFound(f"{text}: no such folder")
    wanted = (("*.safetensors",) if weights else ()) + (("*.bin",) if weights and allow_pickle else ())
    return _fetch(text, revision, [*FILES, *wanted], offline)


def _fetch(repository: str, revision: str | None, patterns: list[str], offline: bool) -> Path:
    import huggingface_hub  # half a second to import, and not needed for a folder
    from huggingface_hub import errors

    try:
        found = huggingface_hub.snapshot_download(
            repository, revision=revision, allow_patterns=patterns, local_files_only=offline
        )
    except errors.RepositoryNotFoundError as cause:
        raise CheckpointNotFound(f"{repository}: no such folder, and no such repository on the hub") from cause
    except errors.RevisionNotFoundError as cause:
        raise CheckpointNotFound(f"{repository}: no revision {revision!r} on the hub") from cause
    except Exception as cause:  # no network, a proxy, a full disk: many libraries below, each with errors of its own
        reason = " ".join(str(cause).split()).split(". ")[0][:200]
        hint = (
            "" if "/" in repository else f"; a checkpoint that a plugin ships is opened by Reader.load({repository!r})"
        )
        raise CheckpointNotFound(
            f"{repository}: no such folder, and not fetched from the hub ({type(cause).__name__}: {reason}){hint}"
        ) from cause
    return Path(found)
