"""What a run is: a resolved configuration, its data, a model in training, and files.

    RUN/config.toml     the configuration, resolved
    RUN/tokenizer.json  the tokenizer of the dataset
    RUN/metrics.jsonl   see lslm.training.metrics
    RUN/checkpoints/    see lslm.checkpoint

A run is a function of its configuration and data. It can be stopped at any step, and continues with
the same numbers (on the same machine and number of threads, on a CPU): what decides a step is the
saved weights, optimizer state and position of the loader, and the number of the step, which the
learning rate and the seed of dropout are functions of.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch.compiler import set_stance
from torch.nn.parallel import DistributedDataParallel

from lslm.checkpoint import (
    find_checkpoint,
    list_checkpoints,
    load_checkpoint,
    prune_checkpoints,
    read_state,
    save_checkpoint,
)
from lslm.config import (
    Config,
    Setting,
    config_keys,
    get_value,
    given_keys,
    load_config,
    locate_data,
    missing_data,
    named_paths,
    replace,
    to_toml,
    with_absolute_paths,
)
from lslm.data import TokenLoader
from lslm.evaluation import check_tokenizer, score
from lslm.evaluation_data import DatasetDocuments, Vocabulary
from lslm.exceptions import MismatchError
from lslm.files import write_atomically
from lslm.model import Transformer
from lslm.optim import build_optimizers, default_newton_schulz_steps, learning_rate_factor
from lslm.parallel import Ranks, autocast, resolve_dtype
from lslm.protocol import parse_protocol
from lslm.scores import EvaluationResult
from lslm.training.budget import Budget
from lslm.training.metrics import drop_rows_after
from lslm.training.origin import open_origin, with_shape

if TYPE_CHECKING:
    from torch import nn

    from lslm import TokenDataset, Tokenizer
    from lslm.progress import Reporter

_logger = logging.getLogger("lslm.training")

__all__ = ["TrainingData", "TrainingRun", "TrainingState", "adopt_config", "start_run"]

KEY_OWNERS: dict[str, Literal["call", "both"]] = {
    "train.out": "call",
    "train.stop_after": "call",
    "train.device": "call",
    "train.threads": "call",
    "data.path": "both",
    "data.validation": "both",
    "train.steps": "both",
    "train.minutes": "both",
    "train.micro_batch_size": "both",
    "train.compile": "both",
    "train.log_every": "both",
    "train.validate_every": "both",
    "train.validation_tokens": "both",
    "train.validation_seed": "both",
    "train.checkpoint_every": "both",
    "train.keep_last": "both",
    "train.keep_best": "both",
    "train.keep_every": "both",
}
"""Whose value counts when a run is resumed.

``call``: that of this call, or the default. ``both``: that of this call if it is given, which the
run then keeps; else that of the run. All other keys belong to the run: to change one would make it
another run.
"""
UNRESOLVED: dict[str, object] = {
    "model.vocab_size": 0,
    "train.dtype": "auto",
    "optim.newton_schulz_steps": 0,
}
"""Values that the run's own config.toml replaces by what they resolved to."""


@dataclass(kw_only=True)
class TrainingState:
    """How far a run is: what changes from step to step, besides weights and optimizers."""

    step: int = 0
    """Updates made."""
    n_tokens: int = 0
    """Targets trained on."""
    seconds: float = 0.0
    """Time in steps, without validations and checkpoints."""
    loss: float = math.nan
    """Training loss of the last step, nats per token."""
    validation: EvaluationResult | None = None
    """The last validation on the sample, or the one over everything."""


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """The datasets of a run and their tokenizer."""

    path: Path
    train: TokenDataset
    validation: tuple[DatasetDocuments, ...] | None
    """The validation sets, each with its name; None without any."""
    tokenizer: Tokenizer
    vocabulary: Vocabulary

    @classmethod
    def open(cls, config: Config) -> TrainingData:
        """Return the data that ``config`` names.

        Raises ``MismatchError`` if validation set and training set have different tokenizers,
        ``ValueError`` if one of them is empty.
        """
        from lslm import TokenDataset, Tokenizer

        if not config.data.path:
            raise ValueError(
                "data.path is empty: give data=DATASET, a folder made by lslm tokenize"
            )
        path = config.data.train_path()
        train = TokenDataset(path)
        if train.tokenizer_path is None:
            raise ValueError(
                f"{path} has no tokenizer.json, which a run needs to generate text: write the "
                f"dataset with tokenizer="
            )
        if not train.n_tokens:
            raise ValueError(f"{path} has 0 tokens to train on: tokenize more text")
        tokenizer = Tokenizer.load(train.tokenizer_path)
        check_tokenizer(train, tokenizer, path)
        vocabulary, sets = Vocabulary.of(tokenizer), []
        for name, beside in config.data.validation_paths().items():
            held_out = TokenDataset(beside)
            check_tokenizer(held_out, tokenizer, beside)
            if not held_out.n_tokens:
                raise ValueError(
                    f"{beside} has 0 tokens to validate on: tokenize with more held-out text, or "
                    f"train without validation, data={path}"
                )
            sets.append(DatasetDocuments(held_out, vocabulary, name))
        return cls(
            path=path,
            train=train,
            validation=tuple(sets) or None,
            tokenizer=tokenizer,
            vocabulary=vocabulary,
        )

    @property
    def n_validation_tokens(self) -> int:
        """Tokens of all validation sets."""
        return sum(one.n_tokens for one in self.validation or ())

    @property
    def validation_fingerprint(self) -> str | None:
        """The fingerprints of the validation sets, joined by commas; None without any."""
        fingerprints = [one.fingerprint for one in self.validation or ()]
        return ",".join(fingerprints) or None


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """A run that is open for training, from :func:`start_run`."""

    folder: Path
    config: Config
    device: str
    group: Ranks
    data: TrainingData
    model: Transformer
    trained: nn.Module
    """``model``, wrapped if several processes train it."""
    optimizers: list[torch.optim.Optimizer]
    loader: TokenLoader[torch.Tensor]
    budget: Budget | None = None
    """The time of the run; None for a number of steps."""
    bos_id: int | None = None
    """The id that begins a document; None: the one that ends others."""
    eos_ids: tuple[int, ...] = ()
    """The ids that end a text, of a published model; empty: the tokenizer's."""

    def is_finished(self, step: int) -> bool:
        """Return whether ``step`` is the last one of this call."""
        settings = self.config.train
        if settings.stop_after and step >= settings.stop_after:
            return True
        return step >= settings.steps if self.budget is None else self.budget.is_over

    def is_complete(self, step: int) -> bool:
        """Return whether ``step`` is the last one of the run, not only of this call."""
        steps = self.config.train.steps
        return self.budget.is_over if self.budget is not None else step >= steps

    def expected_steps(self, step: int) -> int:
        """Return how many steps the run will have made, as of ``step``."""
        return self.config.train.steps if self.budget is None else step + self.budget.steps_left()

    def learning_rate_factor(self, step: int) -> float:
        """Return the factor on every learning rate in update ``step``, from 0."""
        schedule = self.config.schedule
        if self.budget is None:
            return learning_rate_factor(schedule, step, self.config.train.steps)
        return self.budget.learning_rate_factor(schedule)

    def is_due(self, kind: Literal["validation", "save"], step: int) -> bool:
        """Return whether a validation or a checkpoint is due after ``step``."""
        settings = self.config.train
        every = settings.validate_every if kind == "validation" else settings.checkpoint_every
        if self.budget is None:
            return step % every == 0
        return self.budget.is_due(kind, every=every, step=step)

    @property
    def n_scored(self) -> int:
        """The tokens of a validation: the sample of ``train.validation_tokens``, or all."""
        there, wanted = self.data.n_validation_tokens, self.config.train.validation_tokens
        return min(wanted or there, there)

    def validate(self) -> EvaluationResult:
        """Return the scores of the model on a sample of ``n_scored`` tokens.

        The documents are the same each time, so that checkpoints compare, unless there is no time
        for so many.
        """
        if self.budget is None:
            return self._score(self.n_scored)
        start, wanted = time.monotonic(), self.n_scored
        n_tokens = self.budget.affordable_tokens(wanted, self.config.model.sequence_length)
        if n_tokens < wanted and self.group.first:
            _logger.warning(
                "validating on a sample of %s instead of %s tokens, for a tenth of train.minutes",
                f"{n_tokens:,}",
                f"{wanted:,}",
            )
        result = self._score(n_tokens)
        self.budget.add_validation(time.monotonic() - start, n_tokens / wanted)
        return result

    def validate_all(self, reporter: Reporter | None) -> EvaluationResult:
        """Return the scores of the model on all validation documents."""
        return self._score(None, reporter)

    def _score(self, n_tokens: int | None, reporter: Reporter | None = None) -> EvaluationResult:
        """Return the scores of the model on a sample of ``n_tokens``, or on all documents."""
        settings = self.config.train
        assert self.data.validation is not None
        # its batches have another shape than those of training: not worth compiling for
        eager = set_stance("force_eager") if settings.compile else contextlib.nullcontext()
        with autocast(self.device, settings.dtype), eager:
            return score(
                self.model,
                self.data.validation,
                self.data.vocabulary,
                parse_protocol("disjoint", self.model.config.sequence_length),
                n_tokens=n_tokens,
                seed=settings.validation_seed,
                dtype=settings.dtype,
                reporter=reporter,
            )

    def save(
        self,
        state: TrainingState,
        validation: EvaluationResult | None,
        final: EvaluationResult | None = None,
    ) -> None:
        """Write a checkpoint, and prune older ones.

        ``validation`` is that of this very step, on the sample; ``final`` the one over everything.
        """
        settings, start = self.config.train, time.monotonic()
        if self.group.first:
            record = {
                "tokens": state.n_tokens,
                "seconds": state.seconds,
                "loss": state.loss,
                "validation": None if validation is None else _validation_record(validation),
                "final_validation": None if final is None else _validation_record(final),
                "loader": self.loader.state_dict(),
                "dataset": self.data.train.fingerprint,
                "validation_dataset": self.data.validation_fingerprint,
                "tokenizer": self.data.tokenizer.fingerprint,
                "bos_id": self.bos_id,
                "eos_ids": self.eos_ids,
                "budget": self.budget and self.budget.record(),
            }
            save_checkpoint(self.folder, state.step, self.model, self.optimizers, record)
            prune_checkpoints(
                self.folder,
                last=settings.keep_last,
                best=settings.keep_best,
                every=settings.keep_every,
            )
        self.group.wait()
        if self.budget is not None:
            self.budget.add_save(time.monotonic() - start)

    def record_steps(self, step: int) -> None:
        """Write the steps that the time of the run came to into its config.toml."""
        if self.budget is not None and self.budget.is_over and self.group.first:
            config = _with_cadence(replace(self.config, steps=step))
            write_atomically(self.folder / "config.toml", to_toml(_stored(config)))

    def restore(self, checkpoint: Path) -> TrainingState:
        """Load ``checkpoint`` into model, optimizers and loader; return its training state.

        Raises ``MismatchError`` if it was trained on other data.
        """
        record = load_checkpoint(checkpoint, self.model, self.optimizers)
        for what, mine in (("dataset", self.data.train), ("tokenizer", self.data.tokenizer)):
            if record[what] != mine.fingerprint:
                raise MismatchError(
                    f"{checkpoint} was trained with another {what} than {self.data.path}"
                )
        if record.get("validation_dataset") and self.data.validation is None:
            raise MismatchError(
                f"{checkpoint} was trained with a validation set, and {self.config.data.path} has "
                f"no validation: give it, validation=DATASET"
            )
        self.loader.load_state_dict(record["loader"])
        if self.budget is not None and record.get("budget"):
            self.budget.restore(record["budget"])
        sums = record.get("final_validation") or record["validation"]
        return TrainingState(
            step=record["step"],
            n_tokens=record["tokens"],
            seconds=record["seconds"],
            loss=record["loss"],
            validation=sums
            and EvaluationResult(nats=sums["nats"], n_tokens=sums["tokens"], n_bytes=sums["bytes"]),
        )


def start_run(
    config: Config, folder: Path, *, device: str, group: Ranks, resume: bool
) -> tuple[TrainingRun, TrainingState]:
    """Return the run in ``folder``, new or restored from its last checkpoint; write its files.

    The caller holds the lock of ``folder``. Raises what :func:`adopt_config` and
    :class:`TrainingData` do, before anything is written.
    """
    start = time.monotonic()
    config = adopt_config(config, folder, resume=resume)
    last = find_checkpoint(folder) if resume and list_checkpoints(folder) else None
    origin = open_origin(config) if last is None else None
    data = TrainingData.open(config)
    if origin is not None:
        config = with_shape(config, origin.config)
        origin.check_tokenizer(data.tokenizer, data.path)
    config = _resolve(config, data.tokenizer, device)
    torch.set_num_threads(config.train.threads)
    if device.startswith("cuda"):
        torch.set_float32_matmul_precision("high")
    run = _build(_with_cadence(config), folder, device, group, data)
    if not config.train.steps:
        run = dataclasses.replace(run, budget=Budget.of(config, group, run.n_scored, start))
    state = TrainingState()
    if origin is not None:
        origin.load(run.model)
        bos_id = origin.bos_id if data.train.bos_id is None else data.train.bos_id
        run = dataclasses.replace(run, bos_id=bos_id, eos_ids=origin.eos_ids)
    if last is not None:
        state = run.restore(last)
        record = read_state(last)
        eos_ids = tuple(record.get("eos_ids", ()))
        run = dataclasses.replace(run, bos_id=record.get("bos_id"), eos_ids=eos_ids)
    if group.first:
        write_atomically(folder / "config.toml", to_toml(_stored(run.config)))
        if not (folder / "tokenizer.json").is_file():
            data.tokenizer.save(folder / "tokenizer.json")
        if origin is not None:
            origin.copy_companions(folder)
        drop_rows_after(folder, state.step)
    group.wait()
    return run, state


def adopt_config(config: Config, folder: Path, *, resume: bool) -> Config:
    """Return the configuration to train with: the one of the run in ``folder``, else ``config``.

    KEY_OWNERS says which values are those of ``config``. A given value of another key that is not
    the run's is a ``MismatchError``, a dataset that cannot be found a ``FileNotFoundError``, and a
    run in ``folder`` without ``resume`` a ``ValueError``.
    """
    path = folder / "config.toml"
    if not path.is_file():
        return config
    if not resume:
        raise ValueError(f"{folder} already holds a run: resume it, or choose another out=")
    if any("loader" not in read_state(checkpoint) for checkpoint in list_checkpoints(folder)[-1:]):
        raise MismatchError(
            f"{folder} was imported and has no training to resume: start another run from it, "
            f"init_from={folder}"
        )
    stored, given = locate_data(load_config(path), folder), given_keys(config)
    changes: dict[str, Setting] = {}
    for key in config_keys():
        value, kept, owner = get_value(config, key), get_value(stored, key), KEY_OWNERS.get(key)
        if owner == "call" or (owner == "both" and key in given):
            changes[key.replace(".", "__")] = value
        elif key in given and value not in {kept, UNRESOLVED.get(key, kept)}:
            raise MismatchError(
                f"{folder} was started with {key} = {kept!r}, not {value!r}: leave it out, or "
                f"start another run"
            )
    if not config.train.steps:  # once its minutes are over, the run's config has their steps
        changes["train__steps"] = stored.train.steps
        minutes = changes.get("train__minutes")
        if minutes and minutes != stored.train.minutes and stored.train.steps:
            raise MismatchError(
                f"{folder} is a run of {stored.train.steps} steps, which train.minutes = "
                f"{minutes} does not change: give steps="
            )
    _check_data_exists(stored, given, folder)
    return replace(stored, **changes)


def _check_data_exists(stored: Config, given: set[str], folder: Path) -> None:
    """Raise ``FileNotFoundError`` for a dataset of the run that is missing and was not given."""
    named = named_paths(stored.data.validation) if stored.data.validation else {}
    paths = [("data.path", "data=", stored.data.path)]
    paths += [("data.validation", "validation=", path) for path in named.values()]
    for key, setting, path in paths:
        if path and key not in given and not Path(path).exists():
            raise missing_data(path, stored, folder, "data", setting)


def _stored(config: Config) -> Config:
    """Return ``config`` as the run's config.toml has it: absolute paths, without stop_after."""
    return replace(with_absolute_paths(config), stop_after=0)


def _resolve(config: Config, tokenizer: Tokenizer, device: str) -> Config:
    """Return ``config`` with the values that follow from the data and the machine filled in."""
    size = config.model.vocab_size or tokenizer.vocab_size
    if size < tokenizer.vocab_size:
        raise MismatchError(
            f"model.vocab_size = {size}, but the tokenizer has {tokenizer.vocab_size} ids"
        )
    if not config.train.steps and not config.train.minutes:
        raise ValueError("train.steps and train.minutes are both 0: set one of them")
    steps = config.optim.newton_schulz_steps or default_newton_schulz_steps(device)
    return replace(
        config,
        vocab_size=size,
        dtype=resolve_dtype(config.train.dtype, device),
        newton_schulz_steps=steps,
        threads=config.train.threads or torch.get_num_threads(),
    )


def _with_cadence(config: Config) -> Config:
    """Return ``config`` with a validation and a checkpoint per tenth of the steps, if not set."""
    tenth = math.ceil(config.train.steps / 10)
    return replace(
        config,
        validate_every=config.train.validate_every or tenth,
        checkpoint_every=config.train.checkpoint_every or tenth,
    )


def _build(
    config: Config, folder: Path, device: str, group: Ranks, data: TrainingData
) -> TrainingRun:
    """Return the run with a new model, optimizers and loader."""
    settings = config.train
    if settings.batch_size % group.world_size:
        raise ValueError(
            f"train.batch_size = {settings.batch_size} is not a multiple of the number of "
            f"processes, {group.world_size}"
        )
    model = Transformer(config.model, settings.seed).to(device)
    if settings.compile:
        model.compile_layers()
    return TrainingRun(
        folder=folder,
        config=config,
        device=device,
        group=group,
        data=data,
        model=model,
        optimizers=build_optimizers(model, config.optim),
        trained=DistributedDataParallel(model) if group.world_size > 1 else model,
        loader=TokenLoader(
            data.train,
            batch_size=settings.batch_size // group.world_size,
            sequence_length=config.model.sequence_length,
            seed=settings.seed,
            rank=group.rank,
            world_size=group.world_size,
            device=None if device == "cpu" else device,
        ),
        bos_id=data.train.bos_id,
    )


def _validation_record(result: EvaluationResult) -> dict[str, float | None]:
    """Return a validation as state.json has it; what is not finite is null."""
    record = {
        "nats": result.nats,
        "tokens": result.n_tokens,
        "bytes": result.n_bytes,
        "loss": result.loss,
        "perplexity": result.perplexity,
        "bits_per_byte": result.bits_per_byte,
    }
    return {name: value if math.isfinite(value) else None for name, value in record.items()}
