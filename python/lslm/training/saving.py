"""Checkpoints that are written beside the training, from a copy of weights and optimizer state.

    loop:    copy the tensors to host memory ── next step ── next step ── …
    thread:                                  └─ hash, write, sync, commit, prune

The loop waits for the copy alone, and for the writing only where the next checkpoint is due before
the last one is on the disk. A checkpoint that cannot be written, as on a full disk, is a warning:
those before it stay, training continues, and the loop tries again after some time.
"""

from __future__ import annotations

import dataclasses
import errno
import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

import torch

from lslm.checkpoint import (
    amend_checkpoint,
    checkpoint_tensors,
    list_checkpoints,
    prune_checkpoints,
    write_checkpoint,
)
from lslm.exceptions import FormatError
from lslm.tensors import Entry, entries_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor, nn

    from lslm.config import TrainConfig

__all__ = ["Saver"]

_logger = logging.getLogger("lslm.training")

RETRY_SECONDS = 30.0
"""Time until the loop tries to save again after a failure: a full disk is emptied by people."""
LAST_PAUSES = (1.0, 5.0, 15.0)
"""Seconds between the tries to write the last checkpoint of a call, after which there is no
later one."""


class Saver:
    """Writes the checkpoints of the run in ``folder`` in a thread, as a context.

    Without ``write``, as on all processes but the first, it does nothing. ``sync`` is called before
    a checkpoint is committed. Leaving the context waits for what is being written, but after a
    second Ctrl-C.
    """

    def __init__(
        self, folder: Path, settings: TrainConfig, sync: Callable[[], None], *, write: bool = True
    ) -> None:
        self._folder, self._settings, self._sync, self._write = folder, settings, sync, write
        self._pool = ThreadPoolExecutor(1, "lslm-checkpoint")
        self._copy = _HostCopy()
        self._jobs: list[Future[None]] = []
        self._last: tuple[int, dict[str, dict[str, Entry]], Mapping[str, Any]] | None = None
        self._is_cancelled = False
        self._retry_at = 0.0
        self.error: OSError | None = None
        """Why the last checkpoint is not on the disk; None if it is, or is being written."""
        self.seconds = 0.0
        """Time that the last checkpoint took in the thread."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._is_cancelled = kind is not None and issubclass(kind, KeyboardInterrupt)
        self._pool.shutdown()

    @property
    def is_retry_due(self) -> bool:
        """Whether the last checkpoint failed and it is time to save again."""
        return self.error is not None and time.monotonic() >= self._retry_at

    def save(
        self,
        step: int,
        model: nn.Module,
        optimizers: list[torch.optim.Optimizer],
        state: Mapping[str, Any],
    ) -> None:
        """Copy model and optimizers and begin to write them, once the one before is written."""
        if not self._write:
            return
        self.wait()
        self.error = None
        tensors = checkpoint_tensors(model, optimizers)
        try:
            entries = self._copy.take(tensors)
        except (MemoryError, RuntimeError) as error:  # torch has no class of its own on a CPU
            _logger.warning("step %d: saving without a copy, which takes longer: %s", step, error)
            self._last = step, {file: entries_of(named) for file, named in tensors.items()}, state
            self._write_last()
            return
        checked = {
            file: {
                name: dataclasses.replace(entry, load=self._unless_cancelled(entry.load))
                for name, entry in named.items()
            }
            for file, named in entries.items()
        }
        self._last = step, checked, state
        self._jobs.append(self._pool.submit(self._write_last))

    def amend(self, step: int, changes: Mapping[str, Any]) -> None:
        """Change the state of the checkpoint of ``step`` once it is written, as validated later."""
        if self._write:
            self._jobs.append(self._pool.submit(self._amend, step, changes))

    def wait(self) -> None:
        """Return when nothing is being written."""
        jobs, self._jobs = self._jobs, []
        for job in jobs:
            job.result()

    def finish(self) -> None:
        """Return when the last checkpoint is written; raise its ``OSError`` after some tries."""
        self.wait()
        for pause in LAST_PAUSES:
            if self.error is None:
                return
            time.sleep(pause)
            self.error = None
            self._write_last()
        if self.error is not None:
            raise self.error

    def _write_last(self) -> None:
        """Write the checkpoint that :meth:`save` copied; keep the error of a disk, and warn."""
        assert self._last is not None
        (step, entries, state), start = self._last, time.monotonic()
        try:
            self._copy.wait()
            self._sync()
            write_checkpoint(self._folder, step, entries, state)
        except OSError as error:
            if self._is_cancelled:
                return
            self.error, self._retry_at = error, time.monotonic() + RETRY_SECONDS
            saved = list_checkpoints(self._folder)
            _logger.warning(
                "step %d could not be saved: %s; training continues, the last checkpoint is %s, "
                "and saving is tried again in %.0f s",
                step,
                error,
                saved[-1].name if saved else "none",
                RETRY_SECONDS,
            )
            return
        self._prune()
        self.seconds = time.monotonic() - start

    def _amend(self, step: int, changes: Mapping[str, Any]) -> None:
        if self._last is not None and self.error is not None and self._last[0] == step:
            self._last = (step, self._last[1], {**self._last[2], **changes})  # for another try
            return
        try:
            amend_checkpoint(self._folder, step, changes)
        except OSError as error:
            names = ", ".join(changes)
            _logger.warning("step %d: %s not recorded in state.json: %s", step, names, error)
        self._prune()

    def _prune(self) -> None:
        """Delete the checkpoints that are not to be kept; what is in the way of it is a warning."""
        settings = self._settings
        try:
            prune_checkpoints(
                self._folder,
                last=settings.keep_last,
                best=settings.keep_best,
                every=settings.keep_every,
            )
        except (OSError, FormatError) as error:
            _logger.warning("older checkpoints of %s stay: %s", self._folder, error)

    def _unless_cancelled(self, load: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """Return ``load``, which raises after a second Ctrl-C: half a folder is no checkpoint."""

        def checked() -> Tensor:
            if self._is_cancelled:
                raise OSError(errno.EINTR, "interrupted")
            return load()

        return checked


class _HostCopy:
    """Buffers in host memory, reused by all checkpoints of a run."""

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}
        self._copied: torch.cuda.Event | None = None

    def take(self, tensors: Mapping[str, Mapping[str, Tensor]]) -> dict[str, dict[str, Entry]]:
        """Copy ``tensors``, by file and name; return the copies as entries.

        From a GPU the copies are complete after :meth:`wait`; later steps do not change them.
        """
        copies: dict[str, dict[str, Tensor]] = {}
        is_cuda = False
        for file, named in tensors.items():
            copies[file] = {}
            for name, tensor in named.items():
                key = f"{file}:{name}"
                buffer = self._buffers.get(key)
                if buffer is None or buffer.shape != tensor.shape or buffer.dtype != tensor.dtype:
                    pin = tensor.is_cuda
                    buffer = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=pin)
                    self._buffers[key] = buffer
                copies[file][name] = buffer.copy_(tensor.detach(), non_blocking=tensor.is_cuda)
                is_cuda = is_cuda or tensor.is_cuda
        if is_cuda:
            self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._copied.record()
        return {file: entries_of(named) for file, named in copies.items()}

    def wait(self) -> None:
        """Return when the copies are complete."""
        if self._copied is not None:
            self._copied.synchronize()
