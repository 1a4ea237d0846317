"""Threads and floating-point type of a CPU, chosen by a few seconds of real passes.

    for each number of threads, halved from torch's own choice to 1: time passes, in turns
    with the fastest: time passes in bfloat16

The choice is kept in a file of the user's cache, by machine and shape, and written into the run's
config.toml as any other setting. Compiling is never chosen: its first step takes longer than all of
this, so a few seconds say nothing about it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lslm.config import Config, replace
from lslm.files import write_atomically
from lslm.model import Transformer
from lslm.training.probe import Probe

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["autotune", "cache_path"]

_logger = logging.getLogger("lslm.training")

MAX_SECONDS = 5.0
"""Of all passes; those that run then are finished."""
MAX_TOKENS = 4096
"""Of timed passes: enough for every thread to have work."""
MAX_FLOPS = 1e10
"""Of timed passes: a tenth of a second on a core."""
MIN_LENGTH = 16
"""Positions of a row of timed passes at least."""
N_ROUNDS = 6
"""Passes with each number of threads."""
MAX_RATIO = 1.5
"""Times the fastest that a number of threads may take to be tried again."""
BFLOAT16_GAIN = 1.1
"""Times that bfloat16 must be faster to be chosen; at equal steps its loss was equal to a
thousandth (docs/log.md)."""


def cache_path() -> Path:
    """Return the file of the choices made on this machine: ``lslm/autotune.json`` in the cache.

    The cache is XDG_CACHE_HOME, else ``~/.cache``.
    """
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "lslm" / "autotune.json"


def autotune(config: Config) -> Config:
    """Return ``config``, whose vocabulary is known, with threads and dtype for this CPU.

    Threads are chosen where ``train.threads`` is 0, the type where ``train.dtype`` is auto.
    """
    path = cache_path()
    choice = _cached(path).get(_key(config))
    if choice is None:
        start = time.monotonic()
        choice = _measured(config)
        text = "chose %d threads and %s in %.1f s, kept in %s"
        _logger.info(text, choice["threads"], choice["dtype"], time.monotonic() - start, path)
        # a run that is resumed has the type
        keys = {_key(config), _key(replace(config, dtype=choice["dtype"]))}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            known = _cached(path) | dict.fromkeys(keys, choice)
            write_atomically(path, json.dumps(known, indent=1) + "\n")
        except OSError as error:
            _logger.warning("the choice of threads is not kept for the next run: %s", error)
    return replace(config, threads=choice["threads"], dtype=choice["dtype"])


def _key(config: Config) -> str:
    """Return the name of what a choice depends on: processor, cores, torch, shape, batch."""
    settings = config.train
    rows = settings.micro_batch_size or settings.batch_size
    facts = {
        "machine": [platform.machine(), _processor(), torch.get_num_threads()],
        "torch": torch.__version__,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "model": dataclasses.asdict(config.model),
        "rows": rows,
        "given": [settings.threads, settings.dtype],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _processor() -> str:
    """Return the name of the processor, where the system has one."""
    return _cpuinfo("model name") or platform.processor()


def _has_bfloat16() -> bool:
    """Return whether the processor multiplies bfloat16, or nobody knows.

    Without such instructions passes take twenty times as long, and trying them all the time.
    """
    flags = _cpuinfo("flags") or _cpuinfo("Features")
    return not flags or "bf16" in flags


def _cpuinfo(name: str) -> str:
    """Return the first value of ``name`` in Linux's /proc/cpuinfo; empty if there is none."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(name):
                return line.partition(":")[2].strip()
    return ""


def _cached(path: Path) -> dict[str, dict[str, Any]]:
    """Return the choices in ``path`` by key; none where it is missing or of another form."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        choices = {key: (int(one["threads"]), one["dtype"]) for key, one in found.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
    return {
        key: {"threads": threads, "dtype": dtype}
        for key, (threads, dtype) in choices.items()
        if threads > 0 and dtype in {"float32", "bfloat16"}
    }


def _measured(config: Config) -> dict[str, Any]:
    """Return the fastest threads and type, by passes in turns."""
    settings, deadline = config.train, time.monotonic() + MAX_SECONDS
    probe, before = _probe(config), torch.get_num_threads()
    dtype = "float32" if settings.dtype == "auto" else settings.dtype
    counts = [settings.threads] if settings.threads else _halved(before)
    try:
        probe.passes(dtype)  # the first allocate

        def timed(threads: int, dtype: str) -> float:
            torch.set_num_threads(threads)
            return sum(probe.passes(dtype))

        fastest = _fastest(counts, lambda threads: timed(threads, dtype), deadline)
        threads = min(fastest, key=fastest.__getitem__)
        if settings.dtype == "auto" and _has_bfloat16() and time.monotonic() < deadline:
            timed(threads, "bfloat16")  # the first prepare its kernels
            other = _fastest([threads], lambda n: timed(n, "bfloat16"), deadline)
            if other[threads] * BFLOAT16_GAIN < fastest[threads]:
                dtype = "bfloat16"
    finally:
        torch.set_num_threads(before)
    return {"threads": threads, "dtype": dtype}


def _probe(config: Config) -> Probe:
    """Return a probe of a few rows, of a part of the sequence where a whole one takes too long."""
    with torch.device("meta"):  # no memory: for counting only
        per_token = Transformer(config.model).flops_per_token()
    n_tokens = min(MAX_TOKENS, int(MAX_FLOPS / per_token))
    length = min(config.model.sequence_length, max(MIN_LENGTH, n_tokens))
    wanted = config.train.micro_batch_size or config.train.batch_size
    part = replace(config, sequence_length=length)
    return Probe(part, "cpu", max(1, min(wanted, n_tokens // length)))


def _halved(count: int) -> list[int]:
    """Return ``count``, its half, and so on to 1."""
    counts = [count]
    while counts[-1] > 1:
        counts.append(counts[-1] // 2)
    return counts


def _fastest(counts: list[int], timed: Callable[[int], float], deadline: float) -> dict[int, float]:
    """Return the shortest time by number of threads, of those that were tried until ``deadline``.

    In turns, since other work comes and goes; one that is far behind is tried once.
    """
    best: dict[int, float] = {}
    for _ in range(N_ROUNDS):
        for count in counts:
            if best and time.monotonic() >= deadline:
                return best
            if count not in best or best[count] <= MAX_RATIO * min(best.values()):
                best[count] = min(best.get(count, float("inf")), timed(count))
    return best
