"""What a run costs, estimated before it starts."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from lslm._lslm import TokenDataset
from lslm.huggingface import exports_as
from lslm.model import Transformer
from lslm.parallel import resolve_device, resolve_dtype
from lslm.report.numbers import duration, size
from lslm.training.origin import open_origin, with_shape
from lslm.training.probe import Probe

if TYPE_CHECKING:
    from pathlib import Path

    from lslm.config import Config
    from lslm.model import ModelConfig

__all__ = ["Estimate", "estimate", "with_vocabulary"]

N_STEPS = 3
"""Steps that are timed, after one that is not."""
MAX_TOKENS = 16_384
"""Tokens of a timed micro-batch: some seconds of a step on a CPU for 100 M parameters."""
N_VALIDATIONS = 10
"""Validations of a run where the configuration does not say, see ``train.validate_every``."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run needs, from :func:`estimate`."""

    n_parameters: int
    flops_per_token: int
    """See :meth:`lslm.model.Transformer.flops_per_token`."""
    n_tokens: int
    """Targets to train on; 0 if ``train.steps`` is 0 and follows from ``train.minutes``."""
    flops: int
    """Of the whole run: ``flops_per_token`` × ``n_tokens``."""
    memory_bytes: int
    """Weights, gradients, optimizer state, and the activations of one micro-batch."""
    tokens_per_second: float
    """In training, by three real steps here, on one process."""
    seconds: float
    """Of the whole run with its validations, on one process; without loading and compiling."""
    exports_as: str
    """What ``lslm export`` writes its model as, or why it does not."""

    def as_dict(self) -> dict[str, float | int | str]:
        """Return the values by name."""
        return dataclasses.asdict(self)

    def summary(self) -> dict[str, str]:
        """Return the values with their units, for people."""
        shown = {
            "parameters": f"{self.n_parameters:,}",
            "FLOPs per token": f"{self.flops_per_token:,}",
            "memory": f"about {size(self.memory_bytes)}",
            "speed": f"about {round(self.tokens_per_second, -1):,.0f} tokens/s",
        }
        if self.n_tokens:
            shown |= {"tokens": f"{self.n_tokens:,}", "FLOPs": f"{self.flops:.3g}"}
        if self.seconds:
            shown["time"] = f"about {duration(self.seconds)}"
        return shown | {"exports as": self.exports_as}


def estimate(config: Config) -> Estimate:
    """Return what ``config`` costs on this machine, without training: what ``--dry-run`` prints.

    The size of the vocabulary is the dataset's where the configuration has 0.
    """
    origin = open_origin(config)
    config = with_shape(config, origin.config) if origin is not None else config
    config = dataclasses.replace(config, model=with_vocabulary(config))
    shape, settings = config.model, config.train
    device = resolve_device(settings.device)
    dtype = resolve_dtype(settings.dtype, device)
    with torch.device("meta"):  # no memory: for counting only
        counted = Transformer(shape)
    n_tokens = settings.steps * settings.batch_size * shape.sequence_length
    pace = _measure(config, device, dtype)
    return Estimate(
        n_parameters=counted.n_parameters(),
        flops_per_token=counted.flops_per_token(),
        n_tokens=n_tokens,
        flops=n_tokens * counted.flops_per_token(),
        memory_bytes=_memory_bytes(config, counted, dtype),
        tokens_per_second=settings.batch_size * shape.sequence_length / pace.step,
        seconds=_seconds(config, pace) if n_tokens else 60 * settings.minutes,
        exports_as=exports_as(shape),
    )


def with_vocabulary(config: Config) -> ModelConfig:
    """Return the shape of the model with the size of its vocabulary filled in."""
    if config.model.vocab_size:
        return config.model
    if not config.data.path:
        raise ValueError("model.vocab_size = 0 and data.path is empty: set one of them")
    dataset = TokenDataset(config.data.train_path())
    return dataclasses.replace(config.model, vocab_size=dataset.vocab_size)


def _memory_bytes(config: Config, model: Transformer, dtype: str) -> int:
    """Return the bytes of weights, gradients, optimizer state and activations."""
    shape, settings, n = config.model, config.train, model.n_parameters()
    matrices = sum(p.numel() for p in model.blocks.parameters() if p.dim() == 2)
    moments = {"muon": 2 * n - matrices, "adamw": 2 * n, "sgd": n}[config.optim.name]
    rows = settings.micro_batch_size or settings.batch_size
    # per position and layer autograd keeps about ten vectors of the width, three of the hidden one
    kept = shape.layers * (10 * shape.width + 3 * shape.resolved().hidden) + 6 * shape.width
    activations = rows * shape.sequence_length * kept * (2 if dtype == "bfloat16" else 4)
    return 4 * (2 * n + moments) + activations


class _Pace(NamedTuple):
    """What was measured, in seconds."""

    step: float
    """An update of the whole batch, on one process."""
    token: float
    """Scoring a token."""


def _measure(config: Config, device: str, dtype: str) -> _Pace:
    """Return the pace of three real steps: the model, its optimizers, a micro-batch of drawn ids.

    Of a large batch some rows are computed, and the time of the others follows.
    """
    shape, settings = config.model, config.train
    most = max(1, MAX_TOKENS // shape.sequence_length)
    rows = min(settings.micro_batch_size or settings.batch_size, settings.batch_size, most)
    probe = Probe(config, device, rows)
    timed = [(*probe.passes(dtype), probe.update()) for _ in range(1 + N_STEPS)][1:]
    # the lowest: what interrupts a step only adds to it
    both = min(forward + backward for forward, backward, _ in timed)
    step = both * settings.batch_size / rows + min(seconds for *_, seconds in timed)
    return _Pace(step, min(row[0] for row in timed) / (rows * shape.sequence_length))


def _seconds(config: Config, pace: _Pace) -> float:
    """Return the time of the run: its steps, validations on the sample, and the last over all."""
    settings = config.train
    held_out = sum(TokenDataset(path).n_tokens for path in _validation_paths(config))
    sample = min(settings.validation_tokens or held_out, held_out)
    every = settings.validate_every or math.ceil(settings.steps / N_VALIDATIONS)
    n_scored = sample * math.ceil(settings.steps / every) + held_out * (sample < held_out)
    return settings.steps * pace.step + n_scored * pace.token


def _validation_paths(config: Config) -> list[Path]:
    """Return the validation datasets; none where the configuration has no data."""
    named = config.data.path or config.data.validation
    return list(config.data.validation_paths().values()) if named else []
