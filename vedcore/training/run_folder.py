"""The folder of a run: it belongs to one recipe and one set of data, which recipe.json records."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from vedcore.errors import ConfigError, foreign
from vedcore.storage.files import read_json, staged, write_json
from vedcore.training.checkpoints import CheckpointFolder
from vedcore.training.data.sample import Dataset
from vedcore.training.data.stored import STORED
from vedcore.training.recipe import Recipe

RECIPE_FILE = "recipe.json"
_MAY_DIFFER = {"recipe.batch.workers", "recipe.log", "recipe.max_minutes", "recipe.tensorboard", "recipe.threads"}
"""Settings that do not change what is learned, except for the last bits (threads), so a resumed run may change them."""


def claim_folder(folder: Path, recipe: Recipe, datasets: Mapping[str, Dataset], resume: bool) -> None:
    """Start a run in ``folder``, or check that ``folder`` holds the run to resume.

    A run without a checkpoint starts again, with any recipe; so does one that has made no step, unless ``resume``. Raises
    ConfigError if the recipe or the data differ from those of the run, and if a new run would overwrite something.
    """
    path = folder / RECIPE_FILE
    settings = {"recipe": recipe.to_dict(), "data": {name: len(dataset) for name, dataset in datasets.items()}}
    digests = {name: dataset.digest() for name, dataset in datasets.items() if isinstance(dataset, STORED)}
    if resume and not path.is_file():
        raise ConfigError(f"{folder}: no run to resume, {RECIPE_FILE} is missing", file=path)
    checkpoints = CheckpointFolder(folder, recipe.checkpoints.keep)
    if not resume:
        checkpoints.remove_start()
    newest = checkpoints.newest()
    if resume and newest is not None:
        _check_unchanged(path, settings, digests)
        return
    _check_free(folder, newest, datasets)
    with staged(folder) as stage:
        write_json(stage / RECIPE_FILE, {**settings, "digests": digests})


def _check_unchanged(path: Path, settings: dict[str, Any], digests: dict[str, str]) -> None:
    started = read_json(path)
    started_digests = started.pop("digests", digests)  # older runs have no digests
    found = _differences(started, settings) or _differences(
        started_digests, digests, "digest of names and texts in data"
    )
    if found:
        raise ConfigError(
            f"{path}: the run was started with other settings ({'; '.join(found[:4])}); resume it with the same settings, "
            "or choose another folder",
            file=path,
            found=found,
        )


def _check_free(folder: Path, newest: Path | None, datasets: Mapping[str, Dataset]) -> None:
    with foreign(ConfigError, f"{str(folder)[:200]!r}: not a valid name for a folder", file=folder):
        resolved = folder.resolve()
    for name, dataset in datasets.items():
        if isinstance(dataset, STORED) and resolved.is_relative_to(dataset.path.resolve()):
            raise ConfigError(
                f"{folder}: is inside {dataset.path}, the folder of data set {name!r}; choose a folder outside of it",
                file=folder,
            )
    if newest is not None:
        raise ConfigError(
            f"{folder}: already holds a run; resume it (--resume, resume=True), or choose another folder", file=folder
        )
    if (folder / "config.json").exists():
        raise ConfigError(
            f"{folder}: already holds a checkpoint, which training would replace; choose another folder", file=folder
        )


def _differences(old: Any, new: Any, path: str = "") -> list[str]:
    """One line for each setting that differs."""
    if path in _MAY_DIFFER or old == new:
        return []
    if isinstance(old, list) and isinstance(new, list):
        pairs = enumerate(zip_longest(old, new))
        return [line for at, (was, now) in pairs for line in _differences(was, now, f"{path}[{at}]")]
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [f"{path} was {old!r}, is {new!r}"]
    return [
        line
        for name in {**old, **new}
        for line in _differences(old.get(name), new.get(name), f"{path}.{name}".removeprefix("."))
    ]
