"""What a run costs, estimated before it starts."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from lslm.huggingface import exports_as
from lslm.model import Transformer
from lslm.parallel import autocast, resolve_device, resolve_dtype
from lslm.training.origin import open_origin, with_shape

if TYPE_CHECKING:
    from lslm.config import Config
    from lslm.model import ModelConfig

__all__ = ["Estimate", "estimate"]


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
    """Measured here, on one process, with one short row: a rough figure."""
    seconds: float
    """Of the whole run, on one process."""
    exports_as: str
    """What ``lslm export`` writes its model as, or why it does not."""

    def as_dict(self) -> dict[str, float | int | str]:
        """Return the values by name."""
        return dataclasses.asdict(self)


def estimate(config: Config) -> Estimate:
    """Return what ``config`` costs on this machine, without training: what ``--dry-run`` prints.

    The size of the vocabulary is the dataset's where the configuration has 0.
    """
    origin = open_origin(config)
    config = with_shape(config, origin.config) if origin is not None else config
    config = dataclasses.replace(config, model=_with_vocabulary(config))
    shape, settings = config.model, config.train
    device = resolve_device(settings.device)
    dtype = resolve_dtype(settings.dtype, device)
    with torch.device("meta"):  # no memory: for counting only
        counted = Transformer(shape)
    n_tokens = settings.steps * settings.batch_size * shape.sequence_length
    flops_per_second = _flops_per_second(shape, device, dtype)
    speed = flops_per_second / counted.flops_per_token()
    return Estimate(
        n_parameters=counted.n_parameters(),
        flops_per_token=counted.flops_per_token(),
        n_tokens=n_tokens,
        flops=n_tokens * counted.flops_per_token(),
        memory_bytes=_memory_bytes(config, counted, dtype),
        tokens_per_second=speed,
        seconds=n_tokens / speed if n_tokens else 60 * settings.minutes,
        exports_as=exports_as(shape),
    )


def _with_vocabulary(config: Config) -> ModelConfig:
    """Return the shape of the model with the size of its vocabulary filled in."""
    if config.model.vocab_size:
        return config.model
    from lslm import TokenDataset

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


def _flops_per_second(shape: ModelConfig, device: str, dtype: str) -> float:
    """Return the speed of forward and backward pass: the best of three, on one short row."""
    short = dataclasses.replace(shape, sequence_length=min(shape.sequence_length, 256))
    model = Transformer(short).to(device)
    ids = torch.zeros(1, short.sequence_length, dtype=torch.int64, device=device)
    times = []
    for _ in range(3):
        start = time.monotonic()
        with autocast(device, dtype):
            loss = model(ids, ids)
        loss.backward()
        loss.item()  # waits for a GPU
        times.append(time.monotonic() - start)
    return short.sequence_length * model.flops_per_token() / min(times)
