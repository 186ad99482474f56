"""Weight files: names and shapes are read at once, values when they are needed. The only file that imports safetensors.

The first of these that exists is read: model.safetensors, model.safetensors.index.json, and with ``allow_pickle``
pytorch_model.bin and pytorch_model.bin.index.json.
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
"""Patterns of all weight files. A save removes the old ones, so that no reader takes them for the new weights."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in a file; ``read()`` returns its values. dtype: as torch names it ("float32")."""

    name: str
    file: str
    shape: tuple[int, ...]
    read: Callable[[], Tensor]
    dtype: str = ""


@contextmanager
def stored_tensors(folder: Path, *, allow_pickle: bool = False) -> Iterator[Mapping[str, StoredTensor]]:
    """The tensors of the checkpoint in ``folder``, by name. They can be read until the context ends.

    Raises CheckpointNotFound if there are no weights that may be read, and CheckpointError for a damaged file or index.
    """
    names = _weight_files(folder, allow_pickle)
    with ExitStack() as stack:
        found: dict[str, StoredTensor] = {}
        for name, promised in names.items():
            path = inside(folder, name)
            if not path.is_file():
                raise CheckpointNotFound(
                    f"{path}: no such file, though the index of the checkpoint names it", file=path
                )
            if name.endswith(".bin") and not allow_pickle:
                raise CheckpointError(
                    f"{path}: a pickle, though the index is of safetensors: pass allow_pickle=True to read it",
                    file=path,
                    field="allow_pickle",
                )
            reader = _read_pickle if name.endswith(".bin") else _read_safetensors
            tensors = reader(path, stack)
            if promised is not None and (absent := sorted(promised - tensors.keys())):
                raise CheckpointError(
                    f"{path}: lacks {listed(absent)}, which the index says it holds", file=path, tensor=absent[0]
                )
            if double := sorted(found.keys() & tensors.keys()):
                raise CheckpointError(
                    f"{path}: holds {listed(double)} too, which {found[double[0]].file} has already",
                    file=path,
                    tensor=double[0],
                )
            found |= tensors
        yield found


def _weight_files(folder: Path, allow_pickle: bool) -> dict[str, set[str] | None]:
    """The files to read, each with the tensors that the index lists for it, if there is an index."""
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
    raise CheckpointNotFound(f"{folder}: no {SAFETENSORS} and no {SAFETENSORS}.index.json{advice}", file=folder)


def _read_index(index: Path) -> dict[str, set[str] | None]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(
            f"{index}: weight_map must map tensor names to files, got {str(weight_map)[:80]}",
            file=index,
            field="weight_map",
            expected="file names by tensor names",
            found=weight_map,
        )
    files: dict[str, set[str] | None] = {}
    for tensor, file in weight_map.items():
        inside(index.parent, file)
        promised = files.setdefault(file, set())
        if promised is not None:
            promised.add(tensor)
    return files


def _read_safetensors(path: Path, stack: ExitStack) -> dict[str, StoredTensor]:
    with foreign(CheckpointError, str(path), file=path):
        # Not mapped into memory: if a mapped file shrinks, the process is killed.
        file = stack.enter_context(safe_open(path, framework="pt", backend="pread"))
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
        dtypes = {name: _dtype(part.get_dtype()) for name, part in slices.items()}

    def reader(name: str) -> Callable[[], Tensor]:
        def read() -> Tensor:
            with foreign(CheckpointError, f"{path}: {name}", file=path, tensor=name):
                return file.get_tensor(name)  # type: ignore[no-any-return]

        return read

    return {n: StoredTensor(n, path.name, shape, reader(n), dtypes[n]) for n, shape in shapes.items()}


def _dtype(code: str) -> str:
    """torch's name for a type of safetensors: "BF16" -> "bfloat16"."""
    kinds = {"F": "float", "BF": "bfloat", "I": "int", "U": "uint", "C": "complex"}
    match = re.fullmatch(r"([A-Z]+)(\d+)", code)
    return kinds[match[1]] + match[2] if match and match[1] in kinds else code.lower()


def _read_pickle(path: Path, _: ExitStack) -> dict[str, StoredTensor]:
    with foreign(CheckpointError, str(path), file=path):
        content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict):
        kind = type(content).__name__
        message = f"{path}: expected tensors by name, found {kind}"
        raise CheckpointError(message, file=path, expected="tensors by name", found=kind)
    tensors: dict[str, StoredTensor] = {}
    for name, tensor in content.items():
        if not isinstance(name, str) or type(tensor) not in (Tensor, torch.nn.Parameter):
            kind = type(tensor).__name__
            raise CheckpointError(
                f"{path}: {name!r} is {kind}, expected a plain tensor",
                file=path,
                tensor=str(name),
                expected="a plain tensor",
                found=kind,
            )
        size = tensor.untyped_storage().nbytes() if tensor.layout == torch.strided else 0
        if tensor.layout != torch.strided or tensor.is_meta or size < tensor.numel() * tensor.element_size():
            raise CheckpointError(
                f"{path}: {name} is not a plain dense tensor with all of its values",
                file=path,
                tensor=name,
                expected="a plain dense tensor",
                found=str(tensor.layout),
            )
        tensors[name] = StoredTensor(
            name, path.name, tuple(tensor.shape), tensor.detach, str(tensor.dtype).removeprefix("torch.")
        )
    return tensors


def write_tensors(folder: Path, tensors: Mapping[str, Tensor], max_shard_size: int | str) -> None:
    """Write ``tensors`` to ``folder``: one model.safetensors, or shards of at most ``max_shard_size`` and an index.

    Raises ConfigError for a ``max_shard_size`` that is not a size, and OSError if the disk does not take the files.
    """
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
    """A number of bytes from an int or from a text such as "5GB", "300MB" or "1GiB". Raises ConfigError for anything else."""
    units = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}
    match = re.fullmatch(r"\s*(\d{1,30})\s*([KMG]I?|)B\s*", text.upper()) if isinstance(text, str) else None
    count = text if type(text) is int else int(match[1]) * units[match[2]] if match else 0
    if count < 1:
        raise ConfigError(
            f"max_shard_size must be a number of bytes or like '5GB', at least 1, got {text!r}",
            field="max_shard_size",
            expected="a number of bytes, or a text like '5GB'",
            found=text,
        )
    return count


def listed(names: list[str], limit: int = 8) -> str:
    """The first ``limit`` names, and how many more there are, as text."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
