"""Real steps, timed part by part, without a run: what estimates and choices are made from."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

import torch

from lslm.model import Transformer
from lslm.optim import build_optimizers, update
from lslm.parallel import autocast

if TYPE_CHECKING:
    from collections.abc import Callable

    from lslm.config import Config

__all__ = ["Probe"]

T = TypeVar("T")


class Probe:
    """A new model of a configuration, its optimizers, and ``rows`` sequences of drawn ids.

    The size of the vocabulary must be set in the configuration.
    """

    def __init__(self, config: Config, device: str, rows: int) -> None:
        shape, settings = config.model, config.train
        self._device, model = device, Transformer(shape, settings.seed).to(device)
        if settings.compile and device.startswith("cuda"):
            model.compile_layers()
        self._model, self._optimizers = model, build_optimizers(model, config.optim)
        generator = torch.Generator().manual_seed(settings.seed)
        size = (rows, shape.sequence_length + 1)
        ids = torch.randint(shape.vocab_size, size, generator=generator).to(device)
        self._inputs, self._targets = ids[:, :-1], ids[:, 1:]
        self._keep = torch.tensor(True, device=device)

    def passes(self, dtype: str) -> tuple[float, float]:
        """Return the times of a forward and a backward pass. The first allocate, and compile."""
        self._model.zero_grad()
        with autocast(self._device, dtype):
            loss, forward = _timed(self._device, lambda: self._model(self._inputs, self._targets))
        return forward, _timed(self._device, loss.backward)[1]

    def update(self) -> float:
        """Return the time of an update with the gradients of the last passes."""
        return _timed(self._device, lambda: update(self._optimizers, self._keep))[1]


def _timed(device: str, work: Callable[[], T]) -> tuple[T, float]:
    """Return what ``work`` returns and the seconds that it takes, also on a GPU."""
    start = time.monotonic()
    value = work()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return value, time.monotonic() - start
