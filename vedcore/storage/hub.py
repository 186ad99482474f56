"""From a path or a hub id to a folder. The only file that imports huggingface_hub."""

from __future__ import annotations

import os
import re
from pathlib import Path

from vedcore.errors import CheckpointNotFound, foreign

FILES = ("*.json", "*.txt", "*.model")
"""Patterns of the files that are downloaded from the hub besides the weights. Pickles are downloaded only on request."""

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def resolve(
    name: str | os.PathLike[str],
    *,
    revision: str | None = None,
    weights: bool = True,
    allow_pickle: bool = False,
    offline: bool = False,
) -> Path:
    """The folder at the path ``name``, or the local copy of the hub repository with the id ``name``.

    revision: a branch, tag or commit of the repository. weights: download the weights too. allow_pickle: also those in
        pickles. offline: use only the local cache of the hub.
    Raises CheckpointNotFound if there is no such folder, and the repository does not exist or cannot be downloaded.
    """
    text = str(name)
    # An unknown ~user or a name that is too long is an error of the library.
    with foreign(CheckpointNotFound, f"{text[:200]}: no such folder", file=text):
        path = Path(name).expanduser()
        is_folder, exists = path.is_dir(), path.exists()
    if is_folder:
        return path
    if exists:
        raise CheckpointNotFound(
            f"{path} is a file; name the folder that holds it", file=path, expected="a folder", found="a file"
        )
    if not _HUB_ID.fullmatch(text) or text.startswith((".", "-")) or ".." in text:
        raise CheckpointNotFound(f"{text}: no such folder", file=text)
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
        message = f"{repository}: no such folder, and no such repository on the hub"
        raise CheckpointNotFound(message, file=repository) from cause
    except errors.RevisionNotFoundError as cause:
        message = f"{repository}: no revision {revision!r} on the hub"
        raise CheckpointNotFound(message, file=repository, field="revision", found=revision) from cause
    except Exception as cause:  # no network, a proxy, a full disk: several libraries raise their own errors
        reason = " ".join(str(cause).split()).split(". ")[0][:200]
        hint = (
            "" if "/" in repository else f"; a checkpoint that a plugin ships is opened by Reader.load({repository!r})"
        )
        raise CheckpointNotFound(
            f"{repository}: no such folder, and not fetched from the hub ({type(cause).__name__}: {reason}){hint}",
            file=repository,
        ) from cause
    return Path(found)
