"""Safetensors files: written one tensor at a time, hashed on the way, read one tensor at a time.

    8 bytes little-endian: length of the header
    header, JSON padded with spaces: {name: {"dtype", "shape", "data_offsets"}, "__metadata__": …}
    the bytes of the tensors, wider types first, then by name

The bytes are those that ``safetensors.torch.save_file`` writes, which holds all tensors of a file
twice in memory; here one tensor is. A test holds the two equal.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open

from lslm.exceptions import FormatError
from lslm.files import sync, write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from torch import Tensor

__all__ = ["Entry", "FileRecord", "entries_of", "open_tensors", "write_shards", "write_tensors"]

SHARD_BYTES = 5_000_000_000
"""Largest size of one safetensors file in bytes, as Hugging Face splits them."""

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""Types by their names in the header; a file of another type is refused by tensor."""
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Entry:
    """A tensor that is not in memory yet."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    load: Callable[[], Tensor]
    """Returns the tensor, on a CPU."""
    source: str = ""
    """Where it is, for errors: a file and the tensor's name in it."""

    @property
    def n_values(self) -> int:
        """Number of its values."""
        return math.prod(self.shape)

    @property
    def n_bytes(self) -> int:
        """Bytes of its values."""
        return self.n_values * self.dtype.itemsize


@dataclass(frozen=True)
class FileRecord:
    """A file that was written: its path, size and SHA-256."""

    path: Path
    n_bytes: int
    sha256: str


def entries_of(tensors: Mapping[str, Tensor]) -> dict[str, Entry]:
    """Return ``tensors``, on any device, as entries."""
    return {
        name: Entry(tuple(t.shape), t.dtype, lambda t=t: t.detach().cpu())  # type: ignore[misc]
        for name, t in tensors.items()
    }


def write_tensors(path: Path, entries: Mapping[str, Entry]) -> FileRecord:
    """Write ``entries`` as a safetensors file, synced to the disk; return its record."""
    order = sorted(entries, key=lambda name: (-entries[name].dtype.itemsize, name))
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in order:
        entry, start = entries[name], end
        end = start + entry.n_bytes
        header[name] = {"dtype": _NAMES[entry.dtype], "shape": list(entry.shape)}
        header[name] |= {"data_offsets": [start, end]}  # type: ignore[operator]
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    digest, n_bytes = hashlib.sha256(), 0
    parts: Iterable[bytes | memoryview] = itertools.chain(
        (len(text).to_bytes(8, "little"), text), (_data(entries[name]) for name in order)
    )
    try:
        with path.open("wb") as file:
            for part in parts:
                digest.update(part)
                n_bytes += file.write(part)
        sync(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(error.filename or path)) from None
    return FileRecord(path, n_bytes, digest.hexdigest())


def _data(entry: Entry) -> memoryview:
    """Return the bytes of a tensor, checked against what was announced."""
    tensor = entry.load().contiguous()
    if tuple(tensor.shape) != entry.shape or tensor.dtype != entry.dtype:
        raise AssertionError(f"{entry}: loaded {tuple(tensor.shape)} of {tensor.dtype}")
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def write_shards(
    folder: Path, name: str, entries: Mapping[str, Entry], shard_bytes: int | None = None
) -> list[FileRecord]:
    """Write NAME.safetensors, or parts and an index above ``shard_bytes``; return the records.

    ``shard_bytes`` = None: SHARD_BYTES.
    """
    limit = SHARD_BYTES if shard_bytes is None else shard_bytes
    parts: list[dict[str, Entry]] = [{}]
    size = 0
    for key, entry in entries.items():
        if size and size + entry.n_bytes > limit:
            parts.append({})
            size = 0
        parts[-1][key] = entry
        size += entry.n_bytes
    paths = [folder / f"{name}.safetensors"]
    if len(parts) > 1:
        of = f"of-{len(parts):05d}.safetensors"
        paths = [folder / f"{name}-{k:05d}-{of}" for k in range(1, len(parts) + 1)]
        index = {
            "metadata": {"total_size": sum(entry.n_bytes for entry in entries.values())},
            "weight_map": {
                key: path.name for path, part in zip(paths, parts, strict=True) for key in part
            },
        }
        write_atomically(folder / f"{name}.safetensors.index.json", json.dumps(index, indent=1))
    records = [write_tensors(path, part) for path, part in zip(paths, parts, strict=True)]
    sync(folder)
    return records


def open_tensors(paths: list[Path]) -> dict[str, Entry]:
    """Return the tensors in safetensors files by name, not read yet.

    Raises ``FormatError`` for a file that is truncated or broken, a tensor of a type that is not
    supported, and a name that two files have.
    """
    entries: dict[str, Entry] = {}
    for path in paths:
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118  (safe_open is not a mapping)
                    if name in entries:
                        raise FormatError(f"{path}: {name} is also in another file", str(path))
                    entries[name] = _entry(path, name, file.get_slice(name))
        except SafetensorError as error:
            raise FormatError(
                f"{path}: truncated or not a safetensors file ({error}): copy it again", str(path)
            ) from None
    return entries


def _entry(path: Path, name: str, part: object) -> Entry:
    kind, shape = part.get_dtype(), tuple(part.get_shape())  # type: ignore[attr-defined]
    if kind not in DTYPES:
        raise FormatError(
            f"{path}: {name} has type {kind}: convert it to float32 or bfloat16", str(path)
        )

    def load() -> Tensor:
        with safe_open(path, framework="pt") as file:
            return file.get_tensor(name)  # type: ignore[no-any-return]

    return Entry(shape, DTYPES[kind], load, f"{path}: {name}")
