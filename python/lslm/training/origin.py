"""Where the weights of a new run come from: ``train.init_from``, a run or a published model."""

from __future__ import annotations

import dataclasses
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from lslm.checkpoint import find_run, load_checkpoint
from lslm.config import Config, get_value, given_keys, replace
from lslm.exceptions import MismatchError
from lslm.huggingface import is_folder, open_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from lslm import Tokenizer
    from lslm.architecture import ModelConfig
    from lslm.model import Transformer

__all__ = ["Origin", "open_origin", "with_absolute_origin", "with_shape"]

CHANGEABLE = {"model.dropout", "model.sequence_length", "model.init"}
"""Keys of the shape that no weight depends on; the length only with rotary positions."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A trained model to start from; its weights are read by ``load``."""

    path: Path
    config: ModelConfig
    tokenizer: Tokenizer
    bos_id: int | None
    eos_ids: tuple[int, ...]
    companions: Path
    """The folder of an imported model's small files, if it exists."""
    load: Callable[[Transformer], object]

    def check_tokenizer(self, tokenizer: Tokenizer, data: Path) -> None:
        """Raise ``MismatchError`` unless ``tokenizer``, of the dataset ``data``, is the model's."""
        if tokenizer.fingerprint != self.tokenizer.fingerprint:
            raise MismatchError(
                f"{data} was made with another tokenizer ({tokenizer.fingerprint[:12]}…) than "
                f"{self.path} ({self.tokenizer.fingerprint[:12]}…): tokenize the text with "
                f"{self.path}/tokenizer.json"
            )

    def copy_companions(self, run: Path) -> None:
        """Copy an imported model's small files into ``run``, for an export of it."""
        if self.companions.is_dir() and not (run / "huggingface").exists():
            shutil.copytree(self.companions, run / "huggingface")


def open_origin(config: Config) -> Origin | None:
    """Return the model at ``train.init_from``; None where it is empty."""
    if not config.train.init_from:
        return None
    path = Path(config.train.init_from)
    if is_folder(path):
        folder = open_folder(path)

        def copy(model: Transformer) -> None:
            with torch.no_grad():
                for name, parameter in model.state_dict().items():
                    parameter.copy_(folder.entries[name].load())

        return Origin(
            path=path,
            config=folder.config,
            tokenizer=folder.tokenizer,
            bos_id=folder.bos_id,
            eos_ids=folder.eos_ids,
            companions=path,
            load=copy,
        )
    files = find_run(path)
    return Origin(
        path=path,
        config=files.config.model,
        tokenizer=files.tokenizer,
        bos_id=files.state.get("bos_id"),
        eos_ids=tuple(files.state.get("eos_ids", ())),
        companions=files.path / "huggingface",
        load=lambda model: load_checkpoint(files.checkpoint, model),
    )


def with_shape(config: Config, shape: ModelConfig) -> Config:
    """Return ``config`` with the shape of the model to start from.

    Raises ``MismatchError`` for a key of the shape that was given with another value, unless no
    weight depends on it.
    """
    allowed = CHANGEABLE - ({"model.sequence_length"} if shape.positions == "learned" else set())
    changes = {}
    for key in sorted(given_keys(config)):
        section, _, name = key.partition(".")
        if section != "model":
            continue
        value, theirs = get_value(config, key), getattr(shape, name)
        if key in allowed:
            changes[key.replace(".", "__")] = value
        elif value not in {theirs, getattr(shape.resolved(), name)}:
            raise MismatchError(
                f"{key} = {value!r}, and {config.train.init_from} has {theirs!r}: leave it out, or "
                f"start without init_from"
            )
    return replace(dataclasses.replace(config, model=shape), **changes)


def with_absolute_origin(config: Config) -> Config:
    """Return ``config`` with an absolute ``train.init_from``, as config.toml has it."""
    path = config.train.init_from
    return replace(config, init_from=os.path.normpath(Path(path).absolute())) if path else config
