"""What the last bits of a run depend on besides its configuration, and what its machine can do."""

from __future__ import annotations

import platform
import sys
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lslm.training.run import TrainingRun

__all__ = ["PEAK_FLOPS", "changes", "environment", "memory_bytes", "peak_flops"]

PEAK_FLOPS = {
    "A100": 312e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "H200": 989e12,
    "L40S": 362e12,
    "RTX 4090": 165e12,
}
"""Dense bfloat16 operations a second by a part of the device's name, from the vendor's sheets."""


def environment(run: TrainingRun) -> dict[str, Any]:
    """Return versions, device, threads and processes, for state.json."""
    from lslm import __version__

    settings, on_gpu = run.config.train, run.device.startswith("cuda")
    return {
        "lslm": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name(run.device) if on_gpu else run.device,
        "instructions": "" if on_gpu else torch.backends.cpu.get_cpu_capability(),
        "threads": settings.threads,
        "processes": run.group.world_size,
        "micro_batch_size": settings.micro_batch_size,
        "compile": settings.compile,
    }


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return what differs, as ``threads 2 → 1, torch 2.14.0 → 2.15.0``; empty if nothing does."""
    keys = sorted(before.keys() & now.keys())
    return ", ".join(f"{k} {before[k]} → {now[k]}" for k in keys if before[k] != now[k])


def memory_bytes(device: str) -> int:
    """Return the most memory used so far: of a GPU by tensors, else by this process; 0: unknown."""
    if device.startswith("cuda"):
        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return 0
    import resource

    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else 1024 * largest  # else in KiB


def peak_flops(device: str, dtype: str) -> float | None:
    """Return the operations a second that the device can do in ``dtype``; None if unknown."""
    if not device.startswith("cuda") or dtype != "bfloat16":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in PEAK_FLOPS.items() if part in name), None)
