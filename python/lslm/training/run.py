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
import logging
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from torch.compiler import set_stance

from lslm.checkpoint import load_checkpoint
from lslm.config import Config, replace, to_toml, with_absolute_paths
from lslm.evaluation import check_tokenizer, score
from lslm.evaluation_data import DatasetDocuments, Vocabulary
from lslm.exceptions import MismatchError
from lslm.files import write_atomically
from lslm.optim import learning_rate_factor
from lslm.parallel import Ranks, autocast
from lslm.protocol import parse_protocol
from lslm.results import finite
from lslm.scores import EvaluationResult
from lslm.training.environment import environment

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn

    from lslm import TokenDataset, Tokenizer
    from lslm.data import TokenLoader
    from lslm.model import Transformer
    from lslm.progress import Reporter
    from lslm.training.budget import Budget
    from lslm.training.health import Health

_logger = logging.getLogger("lslm.training")

__all__ = [
    "TrainingData",
    "TrainingRun",
    "TrainingState",
    "stored_config",
    "validation_records",
    "with_cadence",
]


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
    validation_due: bool = False
    """Whether ``step`` is saved but has yet to be validated."""
    n_skipped: int = 0
    """Steps that did not update the weights."""
    rewinds: list[dict[str, Any]] = field(default_factory=list)
    """The times that the run went back: ``from`` which step ``to`` which checkpoint, and why."""
    left_out_steps: list[list[int]] = field(default_factory=list)
    """Steps whose data was left out on request: each the first and the last."""

    @classmethod
    def of(cls, record: dict[str, Any]) -> TrainingState:
        """Return the state that a checkpoint's state.json has."""
        sums = record.get("final_validation") or record["validation"]
        return cls(
            step=record["step"],
            n_tokens=record["tokens"],
            seconds=record["seconds"],
            loss=math.nan if record["loss"] is None else record["loss"],
            validation=sums
            and EvaluationResult(nats=sums["nats"], n_tokens=sums["tokens"], n_bytes=sums["bytes"]),
            validation_due=record.get("validation_due", False),
            n_skipped=record.get("skipped", 0),
            rewinds=record.get("rewinds", []),
            left_out_steps=record.get("left_out_steps", []),
        )


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
        train.check_shards()  # a missing one ends the run here, not in its third hour
        tokenizer = Tokenizer.load(train.tokenizer_path)
        check_tokenizer(train, tokenizer, path)
        vocabulary, sets = Vocabulary.of(tokenizer), []
        for name, beside in config.data.validation_paths().items():
            held_out = TokenDataset(beside)
            held_out.check_shards()
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
    health: Health
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

    def record(
        self,
        state: TrainingState,
        validation: EvaluationResult | None = None,
        final: EvaluationResult | None = None,
    ) -> dict[str, Any]:
        """Return what state.json of a checkpoint has besides the files.

        ``validation`` is that of this very step, on the sample; ``final`` the one over everything.
        """
        return {
            "tokens": state.n_tokens,
            "seconds": state.seconds,
            "loss": finite(state.loss),
            **validation_records(validation, final),
            "validation_due": state.validation_due,
            "skipped": state.n_skipped,
            "rewinds": state.rewinds,
            "left_out_steps": state.left_out_steps,
            "health": self.health.record(),
            "loader": self.loader.state_dict(),
            "dataset": self.data.train.fingerprint,
            "validation_dataset": self.data.validation_fingerprint,
            "tokenizer": self.data.tokenizer.fingerprint,
            "bos_id": self.bos_id,
            "eos_ids": self.eos_ids,
            "budget": self.budget and self.budget.record(),
            "environment": environment(self),
        }

    def record_steps(self, step: int) -> None:
        """Write the steps that the time of the run came to into its config.toml."""
        if self.budget is not None and self.budget.is_over and self.group.first:
            config = with_cadence(replace(self.config, steps=step))
            write_atomically(self.folder / "config.toml", to_toml(stored_config(config)))

    def restore(self, checkpoint: Path) -> TrainingState:
        """Load ``checkpoint`` into model, optimizers and loader; return its training state.

        Raises ``MismatchError`` if it was trained on other data, ``FormatError`` if it is damaged.
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
        if record.get("health"):  # checkpoints of before have none
            self.health.restore(record["health"])
        return TrainingState.of(record)

    def go_back(self, checkpoint: Path) -> TrainingState:
        """Load weights and optimizers of ``checkpoint``; the data stays where it is."""
        record = load_checkpoint(checkpoint, self.model, self.optimizers)
        if record.get("health"):
            self.health.restore(record["health"])
        return TrainingState.of(record)


def stored_config(config: Config) -> Config:
    """Return ``config`` as the run's config.toml has it: absolute paths, without stop_after."""
    return replace(with_absolute_paths(config), stop_after=0)


def with_cadence(config: Config) -> Config:
    """Return ``config`` with a validation and a checkpoint per tenth of the steps, if not set."""
    tenth = math.ceil(config.train.steps / 10)
    return replace(
        config,
        validate_every=config.train.validate_every or tenth,
        checkpoint_every=config.train.checkpoint_every or tenth,
    )


def validation_records(
    validation: EvaluationResult | None, final: EvaluationResult | None
) -> dict[str, Any]:
    """Return the validations of a step as state.json has them: on the sample, over everything."""
    return {
        "validation": validation and _validation_record(validation),
        "final_validation": final and _validation_record(final),
    }


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
    return {name: finite(value) for name, value in record.items()}
