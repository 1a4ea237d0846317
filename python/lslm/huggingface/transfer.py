"""Import and export: a published model becomes a run, a run becomes a published model.

    RUN/huggingface/                the imported folder's small files, which an export brings back
    RUN/checkpoints/step-000000/    its weights under our names, in the type that they have

Tensors are copied one at a time: memory is that of the largest one, and the disk sets the pace.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from lslm._lslm import Tokenizer
from lslm.checkpoint import Run, check_checkpoint, commit_checkpoint, empty_model, find_run
from lslm.config import Config, TrainConfig, to_toml
from lslm.files import lock, write_atomically
from lslm.huggingface.architectures import choose, to_json
from lslm.huggingface.folder import open_folder
from lslm.huggingface.names import theirs_from
from lslm.limits import check_counts
from lslm.progress import reporting
from lslm.results import Result
from lslm.tensors import Entry, open_tensors, write_shards

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from torch import Tensor

    from lslm.architecture import ModelConfig
    from lslm.checkpoint import RunFiles
    from lslm.progress import Progress, Reporter

__all__ = ["ExportResult", "ImportResult", "export_model", "import_model", "open_model"]

COMPANIONS = (
    *("generation_config.json", "tokenizer.json", "tokenizer_config.json"),
    *("special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "vocab.json"),
    *("merges.txt", "LICENSE", "LICENSE.txt", "NOTICE"),
)
"""Files beside the weights that move with a model."""

QK_EPS = 2.0**-23
"""ε of queries and keys in float32 where ``norm_eps`` is 0."""


@dataclass(frozen=True, kw_only=True)
class ImportResult(Result):
    """What :func:`import_model` has read and written."""

    run: Path
    architecture: str
    """The class that transformers has for it."""
    n_parameters: int
    n_bytes: int
    """Of the weights written."""
    notes: tuple[str, ...]
    """What was left out, one sentence each."""


@dataclass(frozen=True, kw_only=True)
class ExportResult(Result):
    """What :func:`export_model` has written."""

    folder: Path
    architecture: str
    """The class that transformers has for it."""
    n_parameters: int
    n_bytes: int
    """Of the weights written."""
    dtype: str
    files: tuple[str, ...]
    """The names of all files, weights first."""
    notes: tuple[str, ...]
    """What the reader of the folder should know, one sentence each."""


def import_model(
    folder: str | os.PathLike[str],
    *,
    output: str | os.PathLike[str],
    tokenizer: str | os.PathLike[str] | None = None,
    progress: Progress = None,
) -> ImportResult:
    """Make a run of a published model: a folder in Hugging Face's layout, with safetensors.

    The run in ``output`` can be evaluated, continued (``lslm.train(init=…)``), sampled from and
    exported. Held are GPT-2, Llama 2 and 3, Mistral without sliding windows, Qwen2.5, Qwen3 and
    Arcee. Weights keep their type, such as bfloat16. ``tokenizer`` is a ``tokenizer.json``, where
    the folder has none.

    Raises:
        FileNotFoundError: the folder lacks a file.
        FormatError: a file is broken, a pickle, or has other tensors than its config.json says.
        MismatchError: lslm cannot hold the model; the message names the key.
        ValueError: ``output`` is not empty.
    """
    source, target = open_folder(folder, tokenizer), Path(output)
    with lock(target), reporting(progress) as reporter:
        if any(path.name != ".lock" for path in target.iterdir()):
            raise ValueError(f"{target} is not empty: choose a new folder")
        step = target / "checkpoints" / "step-000000"
        step.mkdir(parents=True)
        try:
            entries = _counted(source.entries, "import", reporter)
            files = write_shards(step, "model", entries)
            _copy_companions(source.path, target / "huggingface")
            source.tokenizer.save(target / "tokenizer.json")
            config = Config(model=source.config, train=TrainConfig(out=str(target.absolute())))
            write_atomically(target / "config.toml", to_toml(config))
            state = {
                "imported": source.architecture.class_name,
                "tokenizer": source.tokenizer.fingerprint,
                "bos_id": source.bos_id,
                "eos_ids": list(source.eos_ids),
                "validation": None,
            }
            commit_checkpoint(step, 0, state, files)
        except BaseException:
            for name in ("checkpoints", "huggingface"):
                shutil.rmtree(target / name, ignore_errors=True)
            for name in ("tokenizer.json", "config.toml"):
                (target / name).unlink(missing_ok=True)
            raise
    return ImportResult(
        run=target,
        architecture=source.architecture.class_name,
        n_parameters=_n_parameters(source.entries),
        n_bytes=sum(file.n_bytes for file in files),
        notes=source.notes,
    )


def open_model(folder: str | os.PathLike[str], device: str = "cpu") -> Run:
    """Return a published model as a run in evaluation mode, without writing one."""
    source = open_folder(folder)
    model = empty_model(source.config, "cpu")
    with torch.no_grad():
        for name, parameter in model.state_dict().items():
            parameter.copy_(source.entries[name].load())
    return Run(
        path=source.path,
        step=0,
        config=Config(model=source.config),
        model=model.to(device).eval(),
        tokenizer=source.tokenizer,
        bos_id=source.bos_id,
        eos_ids=source.eos_ids,
    )


def export_model(
    run: str | os.PathLike[str],
    *,
    output: str | os.PathLike[str],
    checkpoint: str | int = "best",
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    shard_bytes: int | None = None,
    progress: Progress = None,
) -> ExportResult:
    """Write a run's model as a folder that transformers, vLLM and llama.cpp's converter read.

    ``AutoModelForCausalLM.from_pretrained(output)`` and ``AutoTokenizer`` load it. The architecture
    follows from the shape: :func:`lslm.huggingface.exports_as` names it beforehand. ``dtype`` is
    that of the weights; auto keeps theirs. ``output`` is a new or empty folder; more than
    ``shard_bytes`` (5 GB by default) become several files with an index.

    Raises:
        MismatchError: no published architecture has this shape; the message names the key.
        ValueError: ``output`` is not empty.
    """
    check_counts(shard_bytes=shard_bytes)
    files, target = find_run(run, checkpoint), Path(output)
    check_checkpoint(files.checkpoint, "model")
    names = [f for f in files.state["files"] if f.startswith("model") and f.endswith("tensors")]
    config, entries = _exportable(
        files.config.model, open_tensors([files.checkpoint / name for name in names])
    )
    architecture = choose(config)
    theirs = _converted(theirs_from(entries, architecture.names), dtype)
    kind = str(next(iter(theirs.values())).dtype).removeprefix("torch.")
    if target.exists() and any(target.iterdir()):
        raise ValueError(f"{target} is not empty: choose a new folder")
    target.mkdir(parents=True, exist_ok=True)
    with reporting(progress) as reporter:
        try:
            written = write_shards(
                target, "model", _counted(theirs, "export", reporter), shard_bytes
            )
            ids = _write_companions(files, target)
            content = to_json(config) | ids | {"torch_dtype": kind}
            write_atomically(target / "config.json", json.dumps(content, indent=2) + "\n")
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise
    weights = [file.path.name for file in written]
    others = sorted({path.name for path in target.iterdir()} - {*weights})
    return ExportResult(
        folder=target,
        architecture=architecture.class_name,
        n_parameters=_n_parameters(entries),
        n_bytes=sum(file.n_bytes for file in written),
        dtype=kind,
        files=(*weights, *others),
        notes=_notes(files.config.model),
    )


def _notes(config: ModelConfig) -> tuple[str, ...]:
    """Return what the reader of an exported folder should know."""
    notes = []
    if config.activation == "relu2" and config.qk_norm:
        notes.append(
            "ReLU² is written as relu(gate) · up with gate = up: transformers computes it, "
            "llama.cpp and vLLM know no hidden_act of Qwen3 but silu"
        )
    if config.qk_norm and not config.norm_eps:
        notes.append(
            "queries and keys are scaled so that rms_norm_eps is right for them too: logits are "
            "equal up to rounding"
        )
    return tuple(notes)


def _exportable(
    config: ModelConfig, entries: dict[str, Entry]
) -> tuple[ModelConfig, dict[str, Entry]]:
    """Return shape and tensors as a published architecture has them, with the same result.

    1. Norms of queries and keys get weights, of one.
    2. Where their ε is smaller than that of the other norms, e, both are scaled by c = √(e / ε):
       c q / √(c² mean(q²) + e) = q / √(mean(q²) + ε).
    3. ReLU² becomes a gate: relu(z)² = relu(z) · z.
    """
    choose(config)
    if not config.qk_norm:
        return config, entries
    eps = config.norm_eps or 1e-6
    changed, scale = {}, 1.0 if config.norm_eps else (eps / QK_EPS) ** 0.5
    if config.qk_norm_weight:
        scale = 1.0
    size = config.resolved().head_size
    for name, entry in entries.items():
        module = name.removesuffix(".weight")
        if scale != 1 and module.endswith(("attention.query", "attention.key")):
            changed[name] = _mapped(entry, lambda tensor: tensor * scale)
        elif module.endswith("feed_forward.up") and config.activation == "relu2":
            changed[f"{module.removesuffix('up')}gate.weight"] = entry
            changed[name] = entry
        else:
            changed[name] = entry
        if module.endswith(("attention.query", "attention.key")) and not config.qk_norm_weight:
            changed[f"{module}_norm.weight"] = _ones(size, entry.dtype)
    return dataclasses.replace(config, qk_norm_weight=True, norm_eps=eps), changed


def _ones(size: int, dtype: torch.dtype) -> Entry:
    return Entry((size,), dtype, lambda: torch.ones(size, dtype=dtype))


def _mapped(entry: Entry, change: Any) -> Entry:
    """Return ``entry`` with ``change`` applied to the values."""
    return dataclasses.replace(entry, load=lambda: change(entry.load()))


def _converted(entries: dict[str, Entry], dtype: str) -> dict[str, Entry]:
    """Return ``entries`` in another type; auto: in theirs."""
    if dtype == "auto":
        return entries
    kind: torch.dtype = getattr(torch, dtype)
    return {
        name: dataclasses.replace(_mapped(entry, lambda tensor: tensor.to(kind)), dtype=kind)
        for name, entry in entries.items()
    }


def _counted(
    entries: Mapping[str, Entry], stage: str, reporter: Reporter | None
) -> Mapping[str, Entry]:
    """Return ``entries``, whose loading is reported in bytes."""
    if reporter is None:
        return entries
    total, done = sum(entry.n_bytes for entry in entries.values()), 0

    def watched(entry: Entry) -> Entry:
        def load() -> Tensor:
            nonlocal done
            tensor = entry.load()
            done += entry.n_bytes
            reporter.update(stage, done, total, "bytes")
            return tensor

        return dataclasses.replace(entry, load=load)

    return {name: watched(entry) for name, entry in entries.items()}


def _n_parameters(entries: Mapping[str, Entry]) -> int:
    return sum(entry.n_values for entry in entries.values())


def _copy_companions(source: Path, target: Path) -> None:
    """Copy the small files of a published model, and its config.json."""
    target.mkdir(parents=True)
    for name in ("config.json", *COMPANIONS):
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def _write_companions(files: RunFiles, target: Path) -> dict[str, int | list[int] | None]:
    """Write tokenizer and generation settings of a run; return the special ids for config.json.

    An imported model's own files are copied, if they still are of the run's tokenizer.
    """
    kept, tokenizer, state = files.path / "huggingface", files.tokenizer, files.state
    usual = [] if tokenizer.eos_id is None else [tokenizer.eos_id]
    bos, eos = state.get("bos_id"), state.get("eos_ids") or usual
    bos = tokenizer.eos_id if bos is None else bos
    ids: dict[str, int | list[int] | None] = {
        "bos_token_id": bos,
        "eos_token_id": eos[0] if len(eos) == 1 else eos or None,
    }
    own = kept / "tokenizer.json"
    if own.is_file() and Tokenizer.load(own) == tokenizer:
        for name in COMPANIONS:
            if (kept / name).is_file():
                shutil.copyfile(kept / name, target / name)
    else:
        names: dict[int | None, str] = {
            token: name for name, token in tokenizer.special_tokens.items()
        }
        end = names.get(eos[0]) if eos else None
        tokenizer.save_pretrained(target, bos_token=names.get(bos), eos_token=end)
    if not (target / "generation_config.json").exists():
        text = json.dumps(ids, indent=2) + "\n"
        write_atomically(target / "generation_config.json", text)
    return ids
