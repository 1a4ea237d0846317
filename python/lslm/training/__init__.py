"""Training a language model: :func:`train` a run, or make one :func:`train_step`.

``run`` says what a run is and how it is resumed, ``loop`` is the training loop, ``step`` the step.
``health`` notices steps and runs that are not sound, ``rewind`` goes back before them, ``saving``
writes checkpoints beside the training, and ``budget`` keeps to ``train.minutes``.
"""

from __future__ import annotations

import contextlib
import math
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lslm.config import Config, Setting, load_config, replace
from lslm.exceptions import Interrupted
from lslm.files import lock
from lslm.parallel import process_group, resolve_device
from lslm.progress import reporting
from lslm.results import Result, finite
from lslm.scores import EvaluationResult  # noqa: TC001  (from_dict reads the fields' types)
from lslm.training.loggers import check_loggers, open_loggers
from lslm.training.loop import training_loop
from lslm.training.origin import with_absolute_origin
from lslm.training.start import adopt_config, start_run
from lslm.training.step import train_step
from lslm.training.stop import StopSignal

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    from lslm.progress import Progress
    from lslm.training.run import TrainingState

__all__ = ["TrainResult", "train", "train_step"]


@dataclass(frozen=True, kw_only=True, repr=False)
class TrainResult(Result):
    """What :func:`train` has reached."""

    run: Path
    """The run's folder."""
    step: int
    """Updates made, including those before a resume."""
    loss: float
    """Training loss of the last step, nats per token."""
    validation: EvaluationResult | None
    """The last validation: over everything, or in a run of ``minutes`` on a sample, which
    ``sample`` says. None without validation data."""
    n_tokens: int
    """Targets trained on, including those before a resume."""
    seconds: float
    """Time in steps, without validations and checkpoints."""
    n_skipped: int = 0
    """Steps that did not update the weights, see ``train.on_bad_step``."""
    n_rewinds: int = 0
    """How often the run went back to a checkpoint, see ``train.on_bad_step``."""

    @classmethod
    def of(cls, run: Path, state: TrainingState) -> TrainResult:
        """Return what the run in the folder ``run`` has reached."""
        return cls(
            run=run,
            step=state.step,
            loss=state.loss,
            validation=state.validation,
            n_tokens=state.n_tokens,
            seconds=state.seconds,
            n_skipped=state.n_skipped,
            n_rewinds=len(state.rewinds),
        )

    @property
    def tokens_per_second(self) -> float:
        """Speed of the steps alone."""
        return self.n_tokens / self.seconds if self.seconds else math.nan

    def as_dict(self) -> dict[str, Any]:
        """Return the values by name, for ``json.dumps``; None for what is not finite."""
        return super().as_dict() | {"tokens_per_second": finite(self.tokens_per_second)}

    def summary(self) -> dict[str, str]:
        """Return losses, bits per byte, steps, tokens, speed and folder; and what went wrong."""
        shown = {"loss": f"{self.loss:.4f}"}
        if self.validation is not None:
            shown["validation loss"] = f"{self.validation.loss:.4f}"
            shown["bits per byte"] = f"{self.validation.bits_per_byte:.4f}"
        for name, count in (("skipped", self.n_skipped), ("rewinds", self.n_rewinds)):
            shown |= {name: f"{count:,}"} if count else {}
        return shown | {
            "steps": f"{self.step:,}",
            "tokens": f"{self.n_tokens:,}",
            "tokens/s": f"{self.tokens_per_second:,.0f}",
            "run": str(self.run),
        }


def train(
    config: Config | str | os.PathLike[str] | None = None,
    *,
    data: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    init: str | os.PathLike[str] | None = None,
    resume: bool = False,
    skip_steps: tuple[int, int] | None = None,
    progress: Progress = None,
    on_validation: Callable[[TrainResult], bool | None] | None = None,
    on_metrics: Callable[[Mapping[str, Any]], object] | None = None,
    **settings: Setting,
) -> TrainResult:
    """Train a language model on a dataset; return what it has reached.

    ::

        lslm.train("tiny", data="data/web", out="runs/first", minutes=3)

    ``config`` is a TOML file, the name of one in the package, a :class:`lslm.config.Config`, or
    None for the defaults. ``data``, the folder that ``tokenize`` wrote, ``out``, the folder of
    the run, ``init``, and ``settings`` win over it: ``steps=100``, ``lr=0.01``,
    ``model__width=256`` for ``model.width``. An unknown key raises ``ValueError`` with the nearest
    known one.

    ``init`` is a run, a checkpoint or a folder in Hugging Face's layout whose weights and shape the
    run starts from; the dataset must be of its tokenizer, or it is a ``MismatchError``.

    ``resume`` continues from the last checkpoint in ``out``, if there is one, with the settings of
    the run; what is given must be one of them, or it is a ``MismatchError``. How long to train and
    how often to log, validate and save may change, also back to a default. ``stop_after``,
    ``device`` and ``threads`` are those of this call. ``docs/training.md`` has the table. A dataset
    of the run that is neither where it was nor at the same place relative to ``out`` is a
    ``FileNotFoundError``.

    ``skip_steps``, the first and the last step, from 1, trains on without the data that they read:
    the run resumes from the last checkpoint before them, those after it are renamed, and the
    schedule of the loader keeps what is left out. Given again, it changes nothing.

    ``on_validation`` is called after each validation, on every process, with what is reached so
    far. If it returns true, the run is saved and the call ends there, as with ``stop_after``.
    ``on_metrics`` is called with each row of ``metrics.jsonl``, in the first process: ``step`` and
    the figures of that step, or of a validation; ``train.loggers`` names tools that get them too.

    Ctrl-C, SIGTERM and SIGHUP save a checkpoint after the current step and raise
    :class:`lslm.exceptions.Interrupted`, a ``KeyboardInterrupt``; a second Ctrl-C stops at once.
    Under torchrun all processes train one model. A loss or gradient that is not finite never
    updates the weights: ``train.on_bad_step`` decides whether it raises ``FloatingPointError``, and
    leaves the last checkpoint as it is, or the step is skipped, or the run goes back. A checkpoint
    that cannot be written is a warning and is tried again; ``OSError`` if it is the last one.
    """
    config = config if isinstance(config, Config) else load_config(config)
    given = {"data": data, "out": out, "init_from": init}
    config = replace(config, **{k: v for k, v in given.items() if v is not None}, **settings)
    config = with_absolute_origin(config)
    if not config.train.out:
        raise ValueError("train.out is empty: give the folder of the run, out=RUN")
    folder = Path(config.train.out)
    adopted = adopt_config(config, folder, resume=resume)
    device = resolve_device(adopted.train.device)
    check_loggers(adopted)
    with process_group(device) as group, contextlib.ExitStack() as stack:
        if group.first:
            stack.enter_context(lock(folder))
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        stop = stack.enter_context(StopSignal())
        reporter = stack.enter_context(reporting(progress if group.first else False))
        run, state = start_run(
            config, folder, device=device, group=group, resume=resume, skip_steps=skip_steps
        )

        def validated() -> bool | None:
            return None if on_validation is None else on_validation(TrainResult.of(folder, state))

        loggers = [] if on_metrics is None else [on_metrics]
        loggers += open_loggers(run.config, folder) if group.first else []
        is_over = training_loop(
            run, state, stop, reporter, on_validation=validated, loggers=loggers
        )
        if not is_over:
            raise Interrupted(
                f"saved at step {state.step} in {folder}: resume with "
                f"`lslm train --resume out={shlex.quote(str(folder))}`",
                stop.number,
            )
        run.record_steps(state.step)
    return TrainResult.of(folder, state)
