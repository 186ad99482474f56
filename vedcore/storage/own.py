"""``vedcore.json``: the settings of a checkpoint that only vedcore reads. transformers ignores the file.

Under "untrained" it lists the tensors that still hold their random initial values, with checksums of these values. What is
under "calibration" was measured with certain weights, of which it has the checksums.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vedcore.errors import ConfigError
from vedcore.storage.files import read_json

OWN_FILE = "vedcore.json"
"""The name of the file in a checkpoint folder."""

_CHECKED_AS = ("float32", "bfloat16", "float16")


def checksums(tensor: Tensor) -> dict[str, int]:
    """A checksum for each type that the values may be converted to, so that rounding is not mistaken for training.

    A tensor on the meta device has no values, and no checksums.
    """
    return {} if tensor.is_meta else {name: _checksum(tensor, name) for name in _CHECKED_AS}


def is_unchanged(tensor: Tensor, sums: Mapping[str, int]) -> bool:
    """Whether ``tensor`` holds the values that the checksums ``sums`` were computed from. A meta tensor holds none."""
    if tensor.is_meta:
        return False
    name = str(tensor.dtype).removeprefix("torch.")
    name = name if name in _CHECKED_AS else "float32"
    return sums.get(name) == _checksum(tensor, name)


def weights_checksums(weights: Iterable[Tensor]) -> dict[str, int]:
    """A checksum of all ``weights`` together, in their order, for each type that they may be converted to."""
    tensors = list(weights)
    return {name: _checksum_of_all(tensors, name) for name in _CHECKED_AS}


def has_weights(weights: Iterable[Tensor], sums: Any) -> bool:
    """Whether ``weights`` are those that ``weights_checksums`` computed ``sums`` from, perhaps converted to another type."""
    tensors = list(weights)
    names = {str(tensor.dtype).removeprefix("torch.") for tensor in tensors}
    name = names.pop() if len(names) == 1 and names <= set(_CHECKED_AS) else "float32"
    known = isinstance(sums, dict) and name in sums and not any(tensor.is_meta for tensor in tensors)
    return bool(known and sums[name] == _checksum_of_all(tensors, name))


def _checksum_of_all(tensors: list[Tensor], name: str) -> int:
    total = 0
    for tensor in tensors:
        total = _checksum(tensor, name, total)
    return total


def _checksum(tensor: Tensor, name: str, start: int = 0) -> int:
    values = tensor.detach().to(getattr(torch, name)).cpu().contiguous()
    return zlib.crc32(values.reshape(-1).view(torch.uint8).numpy().tobytes(), start)


def own_settings(folder: Path) -> dict[str, Any]:
    """The content of vedcore.json in ``folder``; an empty dict if there is no such file."""
    path = folder / OWN_FILE
    return read_json(path) if path.is_file() else {}


def settings_to_keep(folder: Path, weights: Iterable[Tensor]) -> dict[str, Any]:
    """The content of vedcore.json that holds for a model with these ``weights``, which is about to be saved to ``folder``.

    That is all but "untrained", and "calibration" if it was measured with other weights.
    """
    own = own_settings(folder)
    own.pop("untrained", None)
    calibration = own.get("calibration")
    if isinstance(calibration, dict) and not has_weights(weights, calibration.get("weights")):
        del own["calibration"]
    return own


def stored_checksums(folder: Path) -> dict[str, dict[str, int]]:
    """The checksums in vedcore.json, by type and by our names of the tensors. Raises ConfigError for any other content."""
    found: Any = own_settings(folder).get("untrained", {})
    entries = found.values() if isinstance(found, dict) else [None]
    if not all(isinstance(sums, dict) and all(type(value) is int for value in sums.values()) for sums in entries):
        raise ConfigError(
            f"{folder / OWN_FILE}: untrained must be checksums by type and by tensor, got {str(found)[:80]}; "
            "remove the key if the model is trained",
            file=folder / OWN_FILE,
            field="untrained",
            expected="checksums by type and by tensor",
            found=found,
        )
    return dict(found)
