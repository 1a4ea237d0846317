"""What a run will cost, before it starts."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from lslm.model import Transformer
from lslm.parallel import autocast, resolve_device, resolve_dtype

if TYPE_CHECKING:
    from lslm.config import Config

__all__ = ["Estimate", "estimate"]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run will need, from :func:`estimate`."""

    parameters: int
    flops_per_token: int
    """See :meth:`lslm.model.Transformer.flops_per_token`."""
    tokens: int
    """Targets to learn from; 0 if the number of steps is not known before the start."""
    flops: int
    memory_bytes: int
    """Weights, gradients, optimizer state, and the activations of one micro-batch."""
    tokens_per_second: float
    """Measured here, on one process, with one short row: a rough figure."""
    seconds: float

    def as_dict(self) -> dict[str, float | int]:
        """The values by name."""
        return dataclasses.asdict(self)


def estimate(config: Config) -> Estimate:
    """Say what ``config`` costs on this machine without training: what ``--dry-run`` prints.

    The size of the vocabulary is the dataset's where the configuration does not give it.
    """
    shape, settings = config.model, config.train
    if not shape.vocab_size:
        from lslm import TokenDataset

        if not config.data.path:
            raise ValueError("the size of the vocabulary is open: give data= or model.vocab_size=")
        dataset = TokenDataset(config.data.train_path())
        shape = dataclasses.replace(shape, vocab_size=dataset.vocab_size)
    device = resolve_device(settings.device)
    dtype = resolve_dtype(settings.dtype, device)
    with torch.device("meta"):
        counted = Transformer(shape)
    parameters, flops = counted.n_parameters(), counted.flops_per_token()

    matrices = sum(p.numel() for p in counted.blocks.parameters() if p.dim() == 2)
    moments = {"muon": 2 * parameters - matrices, "adamw": 2 * parameters, "sgd": parameters}
    rows = settings.micro_batch_size or settings.batch_size
    # of each layer autograd keeps about ten rows as wide as the model and three of the hidden width
    hidden = 4 * shape.width if not shape.hidden else shape.hidden
    kept = shape.layers * (10 * shape.width + 3 * hidden) + 6 * shape.width
    activations = rows * shape.sequence_length * kept * (2 if dtype == "bfloat16" else 4)

    tried = dataclasses.replace(shape, sequence_length=min(shape.sequence_length, 256))
    model = Transformer(tried).to(device)
    ids = torch.zeros(1, tried.sequence_length, dtype=torch.int64, device=device)
    times = []
    for _ in range(3):
        start = time.monotonic()
        with autocast(device, dtype):
            loss = model(ids, ids)
        loss.backward()
        loss.item()  # waits for a GPU
        times.append(time.monotonic() - start)
    speed = tried.sequence_length / min(times) * model.flops_per_token() / flops
    tokens = settings.steps * settings.batch_size * shape.sequence_length
    return Estimate(
        parameters=parameters,
        flops_per_token=flops,
        tokens=tokens,
        flops=tokens * flops,
        memory_bytes=4 * (2 * parameters + moments[config.optim.name]) + activations,
        tokens_per_second=speed,
        seconds=tokens / speed if tokens else 60 * settings.minutes,
    )
