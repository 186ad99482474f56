"""The tensors of a checkpoint folder: names and shapes first, values only when asked for; and writing them.

Read in this order: model.safetensors, model.safetensors.index.json, and with ``allow_pickle`` pytorch_model.bin and its
index. The only file that knows safetensors.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from vedcore.errors import CheckpointError, CheckpointNotFound, ConfigError, foreign
from vedcore.storage.files import inside, read_json, write_json

SAFETENSORS = "model.safetensors"
PICKLE = "pytorch_model.bin"
WEIGHT_FILES = (
    "model*.safetensors",
    "model.safetensors.index.json",
    "pytorch_model*.bin",
    "pytorch_model.bin.index.json",
)
"""What a save of the weights replaces in a folder: all that a reader could take in their place."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor on disk: its file, shape and type ("float32", as torch names it), and ``read()`` for its values."""

    name: str
    file: str
    shape: tuple[int, ...]
    read: Callable[[], Tensor]
    dtype: str = ""


@contextmanager
def stored_tensors(folder: Path, *, allow_pickle: bool = False) -> Iterator[Mapping[str, StoredTensor]]:
    """The tensors of the checkpoint in ``folder``, by name, readable until the context ends.

    Raises CheckpointNotFound (no weights that may be read) or CheckpointError (file, tensor and what is wrong).
    """
    names = _weight_files(folder, allow_pickle)
    with ExitStack() as stack:
        found: dict[str, StoredTensor] = {}
        for name, promised in names.items():
            path = inside(folder, name)
            if not path.is_file():
                raise CheckpointNotFound(f"{path}: no such file, though the index of the checkpoint names it")
            if name.endswith(".bin") and not allow_pickle:
                raise CheckpointError(
                    f"{path}: a pickle, though the index is of safetensors: pass allow_pickle=True to read it"
                )
            reader = _read_pickle if name.endswith(".bin") else _read_safetensors
            tensors = reader(path, stack)
            if promised is not None and (absent := sorted(promised - tensors.keys())):
                raise CheckpointError(f"{path}: lacks {listed(absent)}, which the index says it holds")
            if double := sorted(found.keys() & tensors.keys()):
                raise CheckpointError(f"{path}: holds {listed(double)} too, which {found[double[0]].file} has already")
            found |= tensors
        yield found


def _weight_files(folder: Path, allow_pickle: bool) -> dict[str, set[str] | None]:
    """The files to read, each with the tensors that an index promises in it."""
    for single in (SAFETENSORS, PICKLE):
        index = folder / f"{single}.index.json"
        if single == PICKLE and not allow_pickle:
            break
        if inside(folder, single).is_file():
            return {single: None}
        if index.is_file():
            return _read_index(index)
    pickled = (folder / PICKLE).is_file() or (folder / f"{PICKLE}.index.json").is_file()
    advice = (
        f"; {PICKLE} is there, but a pickle can run code: pass allow_pickle=True if you trust it (it is read with "
        "weights_only), then save_pretrained to keep it as safetensors"
        if pickled and not allow_pickle
        else ""
    )
    raise CheckpointNotFound(f"{folder}: no {SAFETENSORS} and no {SAFETENSORS}.index.json{advice}")


def _read_index(index: Path) -> dict[str, set[str] | None]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index}: weight_map must map tensor names to files, got {str(weight_map)[:80]}")
    files: dict[str, set[str] | None] = {}
    for tensor, file in weight_map.items():
        inside(index.parent, file)
        promised = files.setdefault(file, set())
        if promised is not None:
            promised.add(tensor)
    return files


def _read_safetensors(path: Path, stack: ExitStack) -> dict[str, StoredTensor]:
    with foreign(CheckpointError, str(path)):
        # Not mapped into memory: a mapped file that shrinks kills the process.
        file = stack.enter_context(safe_open(path, framework="pt", backend="pread"))
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
        dtypes = {name: _dtype(part.get_dtype()) for name, part in slices.items()}

    def reader(name: str) -> Callable[[], Tensor]:
        def read() -> Tensor:
            with foreign(CheckpointError, f"{path}: {name}"):
                return file.get_tensor(name)  # type: ignore[no-any-return]

        return read

    return {n: StoredTensor(n, path.name, shape, reader(n), dtypes[n]) for n, shape in shapes.items()}


def _dtype(code: str) -> str:
    """torch's name of a type for that of safetensors: "BF16" -> "bfloat16"."""
    kinds = {"F": "float", "BF": "bfloat", "I": "int", "U": "uint", "C": "complex"}
    match = re.fullmatch(r"([A-Z]+)(\d+)", code)
    return kinds[match[1]] + match[2] if match and match[1] in kinds else code.lower()


def _read_pickle(path: Path, _: ExitStack) -> dict[str, StoredTensor]:
    with foreign(CheckpointError, str(path)):
        content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: expected tensors by name, found {type(content).__name__}")
    tensors: dict[str, StoredTensor] = {}
    for name, tensor in content.items():
        if not isinstance(name, str) or type(tensor) not in (Tensor, torch.nn.Parameter):
            raise CheckpointError(f"{path}: {name!r} is {type(tensor).__name__}, expected a plain tensor")
        size = tensor.untyped_storage().nbytes() if tensor.layout == torch.strided else 0
        if tensor.layout != torch.strided or tensor.is_meta or size < tensor.numel() * tensor.element_size():
            raise CheckpointError(f"{path}: {name} is not a plain dense tensor with all of its values")
        tensors[name] = StoredTensor(
            name, path.name, tuple(tensor.shape), tensor.detach, str(tensor.dtype).removeprefix("torch.")
        )
    return tensors


def write_tensors(folder: Path, tensors: Mapping[str, Tensor], max_shard_size: int | str) -> None:
    """Write ``tensors`` to ``folder``: one model.safetensors, or shards of at most ``max_shard_size`` with an index."""
    limit = byte_count(max_shard_size)
    shards: list[dict[str, Tensor]] = [{}]
    used = 0
    for name, tensor in tensors.items():
        if shards[-1] and used + tensor.nbytes > limit:
            shards.append({})
            used = 0
        shards[-1][name] = tensor.detach().contiguous().cpu()
        used += tensor.nbytes
    if len(shards) == 1:
        _write_safetensors(folder / SAFETENSORS, shards[0])
        return
    files = {f"model-{i:05d}-of-{len(shards):05d}.safetensors": shard for i, shard in enumerate(shards, 1)}
    for file, shard in files.items():
        _write_safetensors(folder / file, shard)
    total = sum(tensor.nbytes for tensor in tensors.values())
    parameters = sum(tensor.numel() for tensor in tensors.values())
    weight_map = {name: file for file, shard in files.items() for name in shard}
    metadata = {"total_size": total, "total_parameters": parameters}
    write_json(folder / f"{SAFETENSORS}.index.json", {"metadata": metadata, "weight_map": weight_map})


def _write_safetensors(path: Path, tensors: dict[str, Tensor]) -> None:
    path.touch()
    mode = path.stat().st_mode & 0o7777  # safetensors makes files that only their owner can read
    try:
        save_file(tensors, path, metadata={"format": "pt"})
    except OSError:
        raise
    except Exception as cause:  # SafetensorError, for a full disk too
        raise OSError(str(cause)) from cause
    os.chmod(path, mode)


def byte_count(text: int | str) -> int:
    """Bytes, at least one, from an int or from "5GB", "300MB", "1GiB". ConfigError if it is neither."""
    units = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}
    match = re.fullmatch(r"\s*(\d{1,30})\s*([KMG]I?|)B\s*", text.upper()) if isinstance(text, str) else None
    count = text if type(text) is int else int(match[1]) * units[match[2]] if match else 0
    if count < 1:
        raise ConfigError(f"max_shard_size must be a number of bytes or like '5GB', at least 1, got {text!r}")
    return count


def listed(names: list[str], limit: int = 8) -> str:
    """The first names and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
