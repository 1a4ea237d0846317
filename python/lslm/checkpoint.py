"""Checkpoints: a folder per step that counts only once its state.json is there.

    runs/NAME/config.toml  tokenizer.json  metrics.jsonl
    runs/NAME/checkpoints/step-000120/model.safetensors  optimizer.safetensors  state.json

``state.json`` holds the sizes and SHA-256 of the others and is written last, so a checkpoint is
whole or it is not there, on any file system. Nothing in it depends on the number of processes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from lslm.config import Config
from lslm.config import load as load_config
from lslm.exceptions import FormatError, MismatchError
from lslm.model import Transformer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch
    from torch import Tensor, nn

    from lslm import Tokenizer

__all__ = [
    "Run",
    "check",
    "checkpoints",
    "find",
    "load",
    "lock",
    "open_run",
    "prune",
    "read_state",
    "save",
    "write_atomically",
]

VERSION = 1
SHARD_BYTES = 5_000_000_000


def save(
    run: Path,
    step: int,
    model: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    state: Mapping[str, Any],
) -> Path:
    """Write the checkpoint of ``step`` and return its folder; ``state`` goes into state.json."""
    folder = run / "checkpoints" / f"step-{step:06d}"
    _remove(folder)
    folder.mkdir(parents=True)
    try:
        files = _write_tensors(folder, "model", dict(model.state_dict()))
        files += _write_tensors(folder, "optimizer", _optimizer_tensors(model, optimizers))
        record = {
            "version": VERSION,
            "step": step,
            **state,
            "files": {
                path.name: {"bytes": path.stat().st_size, "sha256": _sha256(path)} for path in files
            },
        }
        write_atomically(folder / "state.json", json.dumps(record, indent=1) + "\n")
    except BaseException:
        _remove(folder)
        raise
    return folder


def checkpoints(run: Path) -> list[Path]:
    """Return the folders of the whole checkpoints of ``run``, by step."""
    folders = [path.parent for path in Path(run).glob("checkpoints/step-[0-9]*/state.json")]
    return sorted(folders, key=_step)


def read_state(checkpoint: Path) -> dict[str, Any]:
    """Return the contents of a checkpoint's state.json."""
    path = Path(checkpoint) / "state.json"
    try:
        state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version, step, _ = state["version"], int(state["step"]), state["files"].items()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"{path}: not the state of a checkpoint: {error}", str(path)) from None
    if version != VERSION:
        raise FormatError(f"{path}: version {version}, but {VERSION} is understood", str(path))
    return state | {"step": step}


def check(checkpoint: Path, part: str = "") -> dict[str, Any]:
    """Compare the files of ``checkpoint`` with their saved size and hash; return its state.

    ``part`` = "model" looks only at the files whose names begin so.
    """
    state = read_state(checkpoint)
    for name, expected in state["files"].items():
        if not name.startswith(part):
            continue
        path = checkpoint / name
        if path.stat().st_size != expected["bytes"] or _sha256(path) != expected["sha256"]:
            raise FormatError(
                f"{path}: damaged: not the bytes that were saved; delete {checkpoint} to go on "
                f"from the checkpoint before it",
                str(path),
            )
    return state


def load(
    checkpoint: Path, model: nn.Module, optimizers: list[torch.optim.Optimizer] | None = None
) -> dict[str, Any]:
    """Fill ``model`` and ``optimizers`` from ``checkpoint``; return its state.

    Sizes and hashes are checked first. Tensors that do not fit are a ``MismatchError``. Without
    ``optimizers`` their file is not touched, and need not be there.
    """
    state = check(checkpoint, "model" if optimizers is None else "")
    tensors = _read_tensors(checkpoint, "model", state)
    mine = model.state_dict()
    _compare(checkpoint, tensors, {name: tensor.shape for name, tensor in mine.items()})
    model.load_state_dict(tensors)
    if optimizers is not None:
        tensors = _read_tensors(checkpoint, "optimizer", state)
        for name, parameter in model.named_parameters():
            owner = next(o for o in optimizers if _owns(o, parameter))
            found = [key for key in tensors if key.rpartition(":")[0] == name]
            owner.state[parameter] = {
                key.rpartition(":")[2]: tensors[key].to(parameter.device) for key in found
            }
    return state


def find(run: str | Path, which: str | int = "last") -> Path:
    """Return the folder of a checkpoint of ``run``: ``last``, ``best`` (validation), or a step."""
    run = Path(run)
    if not run.is_dir():
        raise FileNotFoundError(2, "no such run", str(run))
    folders = checkpoints(run)
    if not folders:
        raise FileNotFoundError(2, "no finished checkpoint in this run", str(run))
    if which == "last":
        return folders[-1]
    if which == "best":
        losses = [(loss, folder) for folder in folders if (loss := _loss(folder)) is not None]
        return min(losses)[1] if losses else folders[-1]
    for folder in folders:
        if str(which).isdecimal() and int(which) == _step(folder):
            return folder
    names = ", ".join(str(_step(folder)) for folder in folders)
    raise ValueError(f"{run} has no checkpoint {which!r}: choose best, last or a step of {names}")


def prune(run: Path, *, last: int, best: bool, every: int) -> None:
    """Delete all checkpoints but the ``last`` newest, the best, and each multiple of ``every``."""
    folders = checkpoints(run)
    keep = set(folders[-last:])
    if best and folders:
        keep.add(find(run, "best"))
    for folder in folders:
        if folder not in keep and not (every and _step(folder) % every == 0):
            _remove(folder)
    for folder in (run / "checkpoints").glob("step-*"):  # what a kill left unfinished
        if not (folder / "state.json").exists():
            _remove(folder)


@dataclass(frozen=True)
class Run:
    """A trained model with all that belongs to it, as :func:`open_run` returns it."""

    path: Path
    step: int
    config: Config
    model: Transformer
    tokenizer: Tokenizer


def open_run(run: str | Path, checkpoint: str | int = "best", device: str = "cpu") -> Run:
    """Load a run's model, ready to evaluate or generate.

    ``run`` is a run's folder, or that of one of its checkpoints; ``checkpoint`` is ``best``,
    ``last`` or a step.
    """
    from lslm import Tokenizer

    folder = Path(run)
    if (folder / "state.json").is_file():
        folder, checkpoint = folder.parent.parent, _step(folder)
    chosen = find(folder, checkpoint)
    config = load_config(folder / "config.toml")
    tokenizer = Tokenizer.load(folder / "tokenizer.json")
    model = Transformer(config.model)
    state = load(chosen, model)
    if state.get("tokenizer") != tokenizer.fingerprint:
        raise MismatchError(f"{folder}/tokenizer.json is not the tokenizer that {chosen} learned")
    model.to(device).eval()
    return Run(folder, state["step"], config, model, tokenizer)


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for this process; a ``ValueError`` names it when another one holds it."""
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".lock"
    with path.open("ab") as file:
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(
                f"{folder}: another process is writing this folder; wait or choose another output"
            ) from None
        if os.fstat(file.fileno()).st_nlink == 0:  # the one before gave it up at this moment
            raise ValueError(f"{folder}: another process has just ended there; try again")
        try:
            yield
        finally:
            if sys.platform != "win32":  # there an open file cannot be removed
                path.unlink(missing_ok=True)
            if new:  # and stayed empty: the run was refused
                with contextlib.suppress(OSError):
                    folder.rmdir()


def write_atomically(path: Path, text: str) -> None:
    """Write ``text`` as the whole file ``path``; at every moment it is the old or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _sync(path: Path) -> None:
    """Bring a file or a folder to the disk; a system that cannot sync folders is left alone."""
    with contextlib.suppress(PermissionError, IsADirectoryError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _step(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove(folder: Path) -> None:
    """Take a checkpoint away; without state.json, the first to go, it is none."""
    (folder / "state.json").unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _loss(folder: Path) -> float | None:
    validation = read_state(folder).get("validation")
    return None if validation is None else float(validation["loss"])


def _owns(optimizer: torch.optim.Optimizer, parameter: Tensor) -> bool:
    return any(parameter is p for group in optimizer.param_groups for p in group["params"])


def _optimizer_tensors(
    model: nn.Module, optimizers: list[torch.optim.Optimizer]
) -> dict[str, Tensor]:
    """The optimizers' state as ``parameter:key``, independent of their groups and order."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    return {
        f"{names[parameter]}:{key}": tensor
        for optimizer in optimizers
        for parameter, state in optimizer.state.items()
        for key, tensor in state.items()
    }


def _write_tensors(folder: Path, name: str, tensors: dict[str, Tensor]) -> list[Path]:
    """Write NAME.safetensors, or numbered parts with an index when they are large."""
    parts: list[dict[str, Tensor]] = [{}]
    size = 0
    for key, tensor in tensors.items():
        if size and size + tensor.nbytes > SHARD_BYTES:
            parts.append({})
            size = 0
        parts[-1][key] = tensor.detach().cpu().contiguous()
        size += tensor.nbytes
    paths = [folder / f"{name}.safetensors"]
    if len(parts) > 1:
        of = f"of-{len(parts):05d}.safetensors"
        paths = [folder / f"{name}-{k:05d}-{of}" for k in range(1, len(parts) + 1)]
        index = {
            "metadata": {"total_size": sum(tensor.nbytes for tensor in tensors.values())},
            "weight_map": {
                key: path.name for path, part in zip(paths, parts, strict=True) for key in part
            },
        }
        write_atomically(folder / f"{name}.safetensors.index.json", json.dumps(index, indent=1))
    for path, part in zip(paths, parts, strict=True):
        try:
            save_file(part, path, metadata={"format": "pt"})
        except SafetensorError as error:
            raise OSError(f"{path}: {error}") from None
        _sync(path)
    _sync(folder)
    return paths


def _read_tensors(checkpoint: Path, name: str, state: dict[str, Any]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for file in state["files"]:
        if file == f"{name}.safetensors" or file.startswith(f"{name}-"):
            path = checkpoint / file
            try:
                tensors |= load_file(path)
            except SafetensorError as error:
                raise FormatError(f"{path}: {error}", str(path)) from None
    return tensors


def _compare(checkpoint: Path, saved: dict[str, Tensor], wanted: dict[str, torch.Size]) -> None:
    for name in sorted(saved.keys() | wanted.keys()):
        there = tuple(saved[name].shape) if name in saved else "absent"
        here = tuple(wanted[name]) if name in wanted else "absent"
        if there != here:
            raise MismatchError(
                f"{checkpoint} is of another model: {name} is {there} there, and {here} in the "
                f"configuration"
            )
