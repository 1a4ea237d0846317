"""A folder with a published model: its shape, its tensors under our names, and its tokenizer.

Nothing in it is trusted: sizes, names and shapes are checked before memory is taken, pickles are
never opened, and an index names files of its own folder only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lslm._lslm import Tokenizer
from lslm.exceptions import FormatError, MismatchError
from lslm.files import not_found
from lslm.huggingface.architectures import Architecture, from_json
from lslm.huggingface.names import GPT2, is_buffer, ours_from, theirs_from
from lslm.model import Transformer
from lslm.tensors import Entry, open_tensors

if TYPE_CHECKING:
    import os

    from lslm.architecture import ModelConfig

__all__ = ["Folder", "is_folder", "open_folder"]

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
"""Names of weights that are pickles: reading one runs the code in it."""


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A published model, from :func:`open_folder`; its tensors are not read yet."""

    path: Path
    architecture: Architecture
    config: ModelConfig
    entries: dict[str, Entry]
    """Our tensors, by our names."""
    tokenizer: Tokenizer
    bos_id: int | None
    """What begins a document; None: what the tokenizer ends one with."""
    eos_ids: tuple[int, ...]
    """What ends a text, of generation_config.json or config.json."""
    notes: tuple[str, ...]
    """What was left out, one sentence each."""


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Return whether ``path`` is a folder in Hugging Face's layout."""
    folder = Path(path)
    return (folder / "config.json").is_file() and not (folder / "config.toml").is_file()


def open_folder(
    path: str | os.PathLike[str], tokenizer: str | os.PathLike[str] | None = None
) -> Folder:
    """Return the model in a folder in Hugging Face's layout.

    ``tokenizer`` is a ``tokenizer.json``, where the folder has none that can be read. Raises
    ``FileNotFoundError`` for a missing file, ``FormatError`` for a broken one, a pickle, and
    tensors that are not those of the shape, and ``MismatchError`` for what lslm cannot hold.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise not_found(folder, "no such folder")
    where = folder / "config.json"
    content = _read_json(where, "give a folder in Hugging Face's layout, or a run of lslm")
    architecture, config, notes = from_json(content, str(where))
    files = _weight_files(folder)
    published = open_tensors(files)
    if architecture.names is GPT2 and not any(
        name.startswith("transformer.") for name in published
    ):
        published = {_prefixed(name): entry for name, entry in published.items()}
    buffers = [name for name in published if is_buffer(name)]
    if buffers:
        notes.append(f"{len(buffers)} stored buffers, which are computed, such as {buffers[0]}")
    published = {name: entry for name, entry in published.items() if name not in buffers}
    if config.layers > len(published):  # before a model of that many layers is built
        raise MismatchError(
            f"{where}: num_hidden_layers = {config.layers}, and the files have "
            f"{len(published)} tensors"
        )
    with torch.device("meta"):
        model = Transformer(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    published = _without_copies(folder, config, published)
    _check_tensors(folder, architecture, shapes, published)
    opened = _open_tokenizer(folder, tokenizer, config)
    generation = folder / "generation_config.json"
    ids = content | (_read_json(generation, "") if generation.is_file() else {})
    return Folder(
        path=folder,
        architecture=architecture,
        config=config,
        entries=ours_from(published, shapes, architecture.names),
        tokenizer=opened,
        bos_id=_first_id(opened, ids, where),
        eos_ids=_ids(ids, "eos_token_id", opened, where),
        notes=tuple(notes),
    )


def _read_json(path: Path, hint: str) -> dict[str, Any]:
    """Return the table in a JSON file."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise FileNotFoundError(2, f"no such file: {hint}", str(path)) from None
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: not JSON: {error}", str(path)) from None
    if not isinstance(content, dict):
        raise FormatError(f"{path}: not a JSON object", str(path))
    return content


def _weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a model: one, or those that an index names."""
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.is_file():
        return [whole]
    if index.is_file():
        names = _read_json(index, "").get("weight_map")
        if not isinstance(names, dict) or not names:
            raise FormatError(f"{index}: weight_map is missing", str(index))
        files = sorted({str(name) for name in names.values()})
        for name in files:
            if Path(name).name != name or not name.endswith(".safetensors"):
                raise FormatError(
                    f"{index}: weight_map has {name!r}, which is not a safetensors file of this "
                    f"folder",
                    str(index),
                )
            if not (folder / name).is_file():
                raise FileNotFoundError(
                    2, f"the index names this file: copy it into {folder}", str(folder / name)
                )
        return [folder / name for name in files]
    for pattern in PICKLES:
        for path in sorted(folder.glob(pattern)):
            raise FormatError(
                f"{path}: a pickle, which runs code when it is read: convert it to "
                f"model.safetensors with the program that wrote it",
                str(path),
            )
    raise FileNotFoundError(2, "no such file, and no index of its parts", str(whole))


def _prefixed(name: str) -> str:
    """Return a name of GPT-2 as its class has it; the first files were saved without it."""
    return name if name.startswith("lm_head.") else f"transformer.{name}"


def _without_copies(
    folder: Path, config: ModelConfig, published: dict[str, Entry]
) -> dict[str, Entry]:
    """Return the tensors without those that must equal another: a tied head, a gate of ReLU².

    Raises ``MismatchError`` if one does not.
    """
    copies = {}
    if config.tied and "lm_head.weight" in published:
        table = "model.embed_tokens.weight"
        copies["lm_head.weight"] = table if table in published else "transformer.wte.weight"
    if config.activation == "relu2" and config.qk_norm:
        gates = [name for name in published if name.endswith(".mlp.gate_proj.weight")]
        copies |= {name: name.replace("gate_proj", "up_proj") for name in gates}
    for name, other in copies.items():
        same = other in published and published[name].shape == published[other].shape
        if not same or not torch.equal(published[name].load(), published[other].load()):
            key = "tie_word_embeddings = true" if name == "lm_head.weight" else "hidden_act = relu"
            raise MismatchError(
                f"{folder}: {name} differs from {other}, which {key} in config.json does not allow"
            )
    return {name: entry for name, entry in published.items() if name not in copies}


def _check_tensors(
    folder: Path,
    architecture: Architecture,
    shapes: dict[str, tuple[int, ...]],
    published: dict[str, Entry],
) -> None:
    """Raise ``FormatError`` for the first tensor that is missing, unknown or of another shape."""
    ours = {
        name: Entry(shape, torch.float32, lambda: torch.empty(0)) for name, shape in shapes.items()
    }
    expected = theirs_from(ours, architecture.names)
    for name in sorted(expected.keys() | published.keys()):
        if name not in published:
            problem = f"is missing: {architecture.class_name} of this config.json has it"
        elif name not in expected:
            problem = f"is not part of {architecture.class_name} with this config.json"
        elif published[name].shape != expected[name].shape:
            there, here = published[name].shape, expected[name].shape
            problem = f"is {there}, and config.json says {here}"
        elif not published[name].dtype.is_floating_point:
            problem = f"has type {published[name].dtype}: only floating-point weights are read"
        else:
            continue
        raise FormatError(f"{folder}: the tensor {name} {problem}", str(folder))


def _open_tokenizer(
    folder: Path, given: str | os.PathLike[str] | None, config: ModelConfig
) -> Tokenizer:
    """Return the tokenizer of a model, none of whose ids the model lacks."""
    path = folder / "tokenizer.json" if given is None else Path(given)
    if given is None and not path.is_file():
        pair = folder / "vocab.json"
        if not pair.is_file():
            raise FileNotFoundError(2, "no such file: give tokenizer=, its tokenizer", str(path))
        path = pair
    tokenizer = Tokenizer.load(path)
    ids, rows = tokenizer.vocab_size, config.vocab_size
    if ids > rows:
        raise MismatchError(
            f"{path} has {ids} ids, and the model {rows}: it is the tokenizer of another model"
        )
    return tokenizer


def _ids(content: dict[str, Any], key: str, tokenizer: Tokenizer, where: Path) -> tuple[int, ...]:
    """Return the ids under ``key``, one or a list; none that the tokenizer lacks."""
    value = content.get(key)
    values = value if isinstance(value, list) else [] if value is None else [value]
    for each in values:
        if type(each) is not int:
            raise FormatError(f"{where}: {key} is {value!r}: must be a whole number", str(where))
    return tuple(each for each in values if 0 <= each < tokenizer.vocab_size)


def _first_id(tokenizer: Tokenizer, content: dict[str, Any], where: Path) -> int | None:
    """Return the id that begins a document: the tokenizer's template has it, or config.json."""
    plain = tokenizer.encode("a").tolist()
    framed = tokenizer.encode("a", template=True).tolist()
    if framed[:1] != plain[:1]:
        return int(framed[0])
    return next(iter(_ids(content, "bos_token_id", tokenizer, where)), None)
