"""Where to compute: the device, its floating-point type, and the processes of torchrun."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

__all__ = ["Ranks", "autocast", "process_group", "ranks", "resolve_device", "resolve_dtype"]


@dataclass(frozen=True)
class Ranks:
    """The rank of this process among those that work on one model."""

    rank: int = 0
    world_size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and shows progress."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of ``values`` over all processes."""
        if self.world_size == 1:
            return values
        # nccl sums on GPUs only
        total = values.cuda() if dist.get_backend() == "nccl" else values.clone()
        dist.all_reduce(total)
        return total.to(values.device)

    def gather(self, values: Tensor) -> Tensor:
        """Return ``values`` (n, ...) of all processes, (processes · n, ...), in order of ranks.

        They have the same shape everywhere.
        """
        if self.world_size == 1:
            return values
        gathered = values.new_empty(self.world_size * len(values), *values.shape[1:])
        dist.all_gather(list(gathered.chunk(self.world_size)), values.contiguous())
        return gathered

    def any(self, value: bool) -> bool:
        """Return whether ``value`` is true on any process: the same on all of them."""
        if self.world_size == 1:
            return value
        return bool(self.sum(torch.tensor(float(value))).item())

    def wait(self) -> None:
        """Return when all processes have called it."""
        if self.world_size > 1:
            dist.barrier()


def ranks() -> Ranks:
    """Return this process's rank; rank 0 of 1 outside of :func:`process_group`."""
    if dist.is_available() and dist.is_initialized():
        return Ranks(dist.get_rank(), dist.get_world_size())
    return Ranks()


@contextlib.contextmanager
def process_group(device: str) -> Iterator[Ranks]:
    """Join the processes that torchrun started, if it did; leave the group at the end."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or dist.is_initialized():
        yield ranks()
        return
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield ranks()
    finally:
        dist.destroy_process_group()


def resolve_device(name: str) -> str:
    """Return the device for ``name``: auto is cuda if torch has a CUDA device, else cpu.

    Under torchrun, cuda is the device of this process's local rank. Raises ``ValueError`` for a
    device that torch does not have here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(name).type
    except RuntimeError:
        raise ValueError(f"device = {name!r}: choose auto, cpu, cuda, cuda:N or mps") from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device = {name!r}: torch has no CUDA device here: use cpu or auto")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"device = {name!r}: torch has no MPS device here: use cpu or auto")
    if name == "cuda":
        local, devices = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if local >= devices:
            raise ValueError(
                f"torchrun started process {local} on a machine with {devices} CUDA devices: start "
                f"at most {devices} processes, or set device=cpu"
            )
        name = f"cuda:{local}"
        torch.cuda.set_device(name)
    return name


def resolve_dtype(name: str, device: str) -> str:
    """Return float32 or bfloat16; auto is bfloat16 on cuda, and float32 elsewhere.

    Few CPUs have bfloat16 instructions; without them it is ten times slower than float32.
    """
    if name != "auto":
        return name
    return "bfloat16" if device.startswith("cuda") else "float32"


def autocast(device: str, dtype: str) -> contextlib.AbstractContextManager[object]:
    """Return the context in which the forward pass computes in ``dtype``."""
    if dtype in {"float32", "float64"}:
        return contextlib.nullcontext()
    return torch.autocast(torch.device(device).type, getattr(torch, dtype))
