"""Checkpoints: one folder per step, committed by its state.json.

    runs/NAME/config.toml  tokenizer.json  metrics.jsonl
    runs/NAME/checkpoints/step-000120/model.safetensors  optimizer.safetensors  state.json

``state.json`` holds the size and SHA-256 of every other file and is written last: a folder without
it is not a checkpoint. This needs no atomic operation on folders, so it holds on any file system.
Nothing in a checkpoint depends on the number of processes. Reading all but weights needs no torch.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lslm.config import Config, load_config, locate_data
from lslm.exceptions import FormatError, MismatchError
from lslm.files import not_found, write_atomically

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    import torch
    from torch import Tensor, nn

    from lslm import Tokenizer
    from lslm.architecture import ModelConfig
    from lslm.model import Transformer
    from lslm.tensors import Entry, FileRecord

__all__ = [
    "Run",
    "RunFiles",
    "amend_checkpoint",
    "check_checkpoint",
    "checkpoint_tensors",
    "commit_checkpoint",
    "empty_model",
    "find_checkpoint",
    "find_run",
    "list_checkpoints",
    "load_checkpoint",
    "open_run",
    "prune_checkpoints",
    "read_state",
    "save_checkpoint",
    "set_aside",
    "write_checkpoint",
]

VERSION = 1
"""Of state.json; a reader refuses any other."""


def save_checkpoint(
    run: Path,
    step: int,
    model: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    state: Mapping[str, Any],
) -> Path:
    """Write the checkpoint of ``step`` and return its folder; ``state`` goes into state.json.

    An earlier checkpoint of this step is replaced. After an error none is left.
    """
    from lslm.tensors import entries_of

    tensors = checkpoint_tensors(model, optimizers)
    entries = {file: entries_of(named) for file, named in tensors.items()}
    return write_checkpoint(run, step, entries, state)


def checkpoint_tensors(
    model: nn.Module, optimizers: list[torch.optim.Optimizer]
) -> dict[str, dict[str, Tensor]]:
    """Return the tensors of a checkpoint by file and name; they change with the next step."""
    return {"model": model.state_dict(), "optimizer": _optimizer_tensors(model, optimizers)}


def write_checkpoint(
    run: Path, step: int, entries: Mapping[str, Mapping[str, Entry]], state: Mapping[str, Any]
) -> Path:
    """Write ``entries``, by file and name, as the checkpoint of ``step``; return its folder.

    It replaces an earlier one, and leaves none after an error, as :func:`save_checkpoint` does.
    """
    from lslm.tensors import write_shards

    folder = run / "checkpoints" / f"step-{step:06d}"
    _remove(folder)
    folder.mkdir(parents=True)
    try:
        files = [record for name in entries for record in write_shards(folder, name, entries[name])]
        commit_checkpoint(folder, step, state, files)
    except BaseException:
        _remove(folder)
        raise
    return folder


def amend_checkpoint(run: Path, step: int, changes: Mapping[str, Any]) -> None:
    """Change values in the state.json of a checkpoint, at once or not at all."""
    path = run / "checkpoints" / f"step-{step:06d}" / "state.json"
    state = {**read_state(path.parent), **changes}
    write_atomically(path, json.dumps(state, indent=1) + "\n")


def set_aside(checkpoint: Path, why: str = "damaged") -> Path:
    """Rename a checkpoint, so that it is none any more; return its new path."""
    for number in range(1, 1000):
        target = checkpoint.with_name(f"{why}-{checkpoint.name}" + f"-{number}" * (number > 1))
        if not target.exists():
            break
    return checkpoint.rename(target)


def commit_checkpoint(
    folder: Path, step: int, state: Mapping[str, Any], files: list[FileRecord]
) -> None:
    """Write state.json, which makes ``folder`` with ``files`` the checkpoint of ``step``."""
    hashes = {file.path.name: {"bytes": file.n_bytes, "sha256": file.sha256} for file in files}
    record = {"version": VERSION, "step": step, **state, "files": hashes}
    write_atomically(folder / "state.json", json.dumps(record, indent=1) + "\n")


def list_checkpoints(run: Path) -> list[Path]:
    """Return the folders of all finished checkpoints of ``run``, in order of their steps."""
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
        raise FormatError(
            f"{path}: version {version}, but this lslm reads version {VERSION}", str(path)
        )
    return state | {"step": step}


def check_checkpoint(checkpoint: Path, part: str = "") -> dict[str, Any]:
    """Check the size and SHA-256 of the files of ``checkpoint``; return its state.

    With ``part`` = "model", only files whose names begin with it. Raises ``FormatError`` for the
    first damaged file.
    """
    state = read_state(checkpoint)
    for name, expected in state["files"].items():
        if not name.startswith(part):
            continue
        path = checkpoint / name
        if path.stat().st_size != expected["bytes"] or _sha256(path) != expected["sha256"]:
            raise FormatError(
                f"{path}: damaged, its size or hash differs from state.json; the checkpoint before "
                f"it is what lslm train --resume continues from",
                str(path),
            )
    return state


def load_checkpoint(
    checkpoint: Path, model: nn.Module, optimizers: list[torch.optim.Optimizer] | None = None
) -> dict[str, Any]:
    """Load ``checkpoint`` into ``model`` and ``optimizers``; return its state.

    Sizes and hashes are checked first. Raises ``MismatchError`` if names or shapes of tensors
    differ from those of ``model``. Without ``optimizers`` their file is not read.
    """
    state = check_checkpoint(checkpoint, "model" if optimizers is None else "")
    tensors = _read_tensors(checkpoint, "model", state)
    mine = model.state_dict()
    _check_shapes(checkpoint, tensors, {name: tensor.shape for name, tensor in mine.items()})
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


def find_checkpoint(run: str | os.PathLike[str], which: str | int = "last") -> Path:
    """Return the folder of a checkpoint of ``run``.

    ``which`` is ``last``, ``best`` (lowest validation loss; ``last`` if none was validated) or a
    step.
    """
    run = Path(run)
    if not run.is_dir():
        what = "this is a file, not a run" if run.exists() else "no such run"
        hint = "train one with lslm train, or make one of a published model's folder, lslm import"
        raise not_found(run, f"{what}: {hint}")
    folders = list_checkpoints(run)
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


def prune_checkpoints(run: Path, *, last: int, best: bool, every: int) -> None:
    """Delete all checkpoints but the ``last`` newest, the best, and each multiple of ``every``.

    ``every`` = 0: no multiples. Unfinished folders, which a killed process leaves, go too.
    """
    folders = list_checkpoints(run)
    keep = set(folders[-last:])
    if best and folders:
        keep.add(find_checkpoint(run, "best"))
    for folder in folders:
        if folder not in keep and not (every and _step(folder) % every == 0):
            _remove(folder)
    for folder in (run / "checkpoints").glob("step-*"):
        if not (folder / "state.json").exists():
            _remove(folder)


@dataclass(frozen=True)
class Run:
    """A trained model with its configuration and tokenizer, from :func:`open_run`."""

    path: Path
    """The run's folder."""
    step: int
    """Updates made before this checkpoint."""
    config: Config
    model: Transformer
    """In evaluation mode, on the device it was opened for."""
    tokenizer: Tokenizer
    validation_dataset: str | None = None
    """Fingerprint of the validation set that it was trained with; None: without one."""
    bos_id: int | None = None
    """The id that begins a document; None: the tokenizer's ``eos_id``, which ends others."""
    eos_ids: tuple[int, ...] = ()
    """The ids that end a text; empty: the tokenizer's ``eos_id``."""

    @property
    def start_ids(self) -> list[int]:
        """The ids before the text of a document: one, or none where the tokenizer has no such."""
        start = self.tokenizer.eos_id if self.bos_id is None else self.bos_id
        return [] if start is None else [start]

    @property
    def stop_ids(self) -> frozenset[int]:
        """The ids that end a text."""
        eos = self.tokenizer.eos_id
        return frozenset(self.eos_ids) or frozenset([] if eos is None else [eos])


class RunFiles(NamedTuple):
    """A run's files but the weights, from :func:`find_run`."""

    path: Path
    """The run's folder."""
    checkpoint: Path
    config: Config
    tokenizer: Tokenizer
    state: dict[str, Any]
    """What the checkpoint's state.json has."""

    @property
    def step(self) -> int:
        """Updates made before the checkpoint."""
        return int(self.state["step"])

    @property
    def validation_dataset(self) -> str | None:
        """Fingerprint of the validation set that it was trained with; None: without one."""
        found: str | None = self.state.get("validation_dataset")
        return found

    @property
    def bos_id(self) -> int | None:
        """The id that begins a document; see :class:`Run`."""
        found: int | None = self.state.get("bos_id")
        return found

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """The ids that end a text; see :class:`Run`."""
        return tuple(self.state.get("eos_ids", ()))


def find_run(run: str | os.PathLike[str], checkpoint: str | int = "best") -> RunFiles:
    """Return what belongs to a checkpoint of a run; the arguments are those of :func:`open_run`.

    Raises ``MismatchError`` if the folder's tokenizer is not that of the model.
    """
    from lslm import Tokenizer

    folder = Path(run)
    if (folder / "state.json").is_file():
        folder, checkpoint = folder.parent.parent, _step(folder)
    chosen = find_checkpoint(folder, checkpoint)
    config = locate_data(load_config(folder / "config.toml"), folder)
    tokenizer, state = Tokenizer.load(folder / "tokenizer.json"), read_state(chosen)
    if state.get("tokenizer") != tokenizer.fingerprint:
        raise MismatchError(
            f"{folder}/tokenizer.json is not the tokenizer that {chosen} was trained with"
        )
    return RunFiles(folder, chosen, config, tokenizer, state)


def open_run(
    run: str | os.PathLike[str], checkpoint: str | int = "best", device: str = "cpu"
) -> Run:
    """Return the model of a run, ready to evaluate or generate.

    ``run`` is a run's folder, or the folder of one of its checkpoints, which then wins over
    ``checkpoint``; see :func:`find_checkpoint`; or a folder with a published model in Hugging
    Face's layout, see :func:`lslm.import_model`. Datasets in its ``config`` are where they are now,
    also if they were moved together with the run. Raises ``MismatchError`` if the folder's
    tokenizer is not the one that the model was trained with.
    """
    from lslm.huggingface import is_folder, open_model

    if is_folder(run):
        return open_model(run, device)
    files = find_run(run, checkpoint)
    model = empty_model(files.config.model, "cpu")
    load_checkpoint(files.checkpoint, model)
    model.to(device).eval()
    return Run(
        path=files.path,
        step=files.step,
        config=files.config,
        model=model,
        tokenizer=files.tokenizer,
        validation_dataset=files.validation_dataset,
        bos_id=files.bos_id,
        eos_ids=files.eos_ids,
    )


def empty_model(config: ModelConfig, device: str) -> Transformer:
    """Return a model whose weights are yet to be loaded: drawing them would take seconds."""
    import torch

    from lslm.model import Transformer

    with torch.device("meta"):
        model = Transformer(config)
    return model.to_empty(device=device)


def _step(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove(folder: Path) -> None:
    """Delete a checkpoint; state.json goes first, so that half a folder is never one."""
    (folder / "state.json").unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _loss(folder: Path) -> float | None:
    """Return the validation loss of a checkpoint; None if it has none or it is not finite."""
    validation = read_state(folder).get("validation")
    loss = None if validation is None else validation["loss"]
    return None if loss is None else float(loss)


def _owns(optimizer: torch.optim.Optimizer, parameter: Tensor) -> bool:
    return any(parameter is p for group in optimizer.param_groups for p in group["params"])


def _optimizer_tensors(
    model: nn.Module, optimizers: list[torch.optim.Optimizer]
) -> dict[str, Tensor]:
    """Return the optimizers' tensors as ``parameter:key``, whatever their groups and order."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    return {
        f"{names[parameter]}:{key}": tensor
        for optimizer in optimizers
        for parameter, state in optimizer.state.items()
        for key, tensor in state.items()
    }


def _read_tensors(checkpoint: Path, name: str, state: dict[str, Any]) -> dict[str, Tensor]:
    """Return the tensors in the files NAME.safetensors or NAME-….safetensors of a checkpoint."""
    from lslm.tensors import open_tensors

    files = [f for f in state["files"] if f == f"{name}.safetensors" or f.startswith(f"{name}-")]
    entries = open_tensors([checkpoint / file for file in files])
    return {key: entry.load() for key, entry in entries.items()}


def _check_shapes(
    checkpoint: Path, saved: dict[str, Tensor], wanted: dict[str, torch.Size]
) -> None:
    for name in sorted(saved.keys() | wanted.keys()):
        there = tuple(saved[name].shape) if name in saved else "absent"
        here = tuple(wanted[name]) if name in wanted else "absent"
        if there != here:
            raise MismatchError(
                f"{checkpoint} is of another model: {name} is {there} there, and {here} in the "
                f"configuration"
            )
