"""Compare how torch's threads wait for work on a CPU: step time and CPU time, by policy.

    python benches/waiting.py [TEXT] [--steps 20] [--rounds 5] [--busy N]

Between two parallel loops the threads of OpenMP spin, which is fast and burns a core, or sleep,
which costs a wake-up. Each measurement is a process of its own, since OpenMP reads its policy when
torch is loaded; all policies take turns, and losses are compared before a figure counts. ``--busy``
adds so many processes that compute, as on a shared machine. TEXT is what to train on,
tinyshakespeare by default. Figures are medians: milliseconds of a step, and CPU seconds of the
whole call.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from machine import DATA

import lslm

SHAPES = {
    "tiny": [],
    "demo": ["width=192", "layers=3", "heads=3", "sequence_length=128"],
    "char": ["width=128", "layers=2", "heads=4", "sequence_length=64", "batch_size=12"],
}
POLICIES = {
    "default": {},
    "passive": {"OMP_WAIT_POLICY": "passive"},
    **{f"spin {n:,}": {"GOMP_SPINCOUNT": str(n)} for n in (1_000, 10_000, 100_000)},
    "1 thread": {"OMP_NUM_THREADS": "1"},
}
VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_NUM_THREADS")
CHILD = """
import json, sys, time
import lslm, torch
config = lslm.load_config("tiny", sys.argv[1:])
cpu = time.process_time()
result = lslm.train(config, progress=False)
cpu = time.process_time() - cpu
print(json.dumps({"step": result.seconds / result.step, "cpu": cpu, "loss": result.loss}))
"""
BUSY = "while True: pass"


def make_data(text: Path, folder: Path) -> Path:
    """Write ``text`` as a dataset of 1,024 tokens; return its training part."""
    tokenizer = lslm.train_tokenizer(text, vocab_size=1024, progress=False)
    lslm.tokenize(text, output=folder / "data", tokenizer=tokenizer, progress=False)
    return folder / "data" / "train"


def measure(shape: list[str], policy: dict[str, str], data: Path, folder: Path, steps: int) -> dict:
    """Return time of a step, CPU time and loss of a training in a fresh process."""
    environment = {name: v for name, v in os.environ.items() if name not in VARIABLES}
    with tempfile.TemporaryDirectory(dir=folder) as run:
        settings = [f"data={data}", f"out={run}/run", f"steps={steps}", "minutes=0", "device=cpu"]
        done = subprocess.run(
            [sys.executable, "-c", CHILD, *settings, f"checkpoint_every={steps}", *shape],
            env=environment | policy, capture_output=True, text=True, check=True,
        )  # fmt: skip
    return json.loads(done.stdout)


def compare(name: str, data: Path, folder: Path, options: argparse.Namespace) -> None:
    """Measure one shape under every policy, and print a row for each."""
    found: dict[str, list[dict]] = {policy: [] for policy in POLICIES}
    for _ in range(options.rounds):
        for policy, variables in POLICIES.items():
            row = measure(SHAPES[name], variables, data, folder, options.steps)
            found[policy].append(row)
            print(f"{name}, {policy}: {row}", file=sys.stderr, flush=True)
    for policy, rows in found.items():
        losses = {row["loss"] for row in rows}
        if len(losses) > 1 or (policy != "1 thread" and losses != {found["default"][0]["loss"]}):
            sys.exit(f"{name}, {policy}: the losses differ")
        step, cpu = (statistics.median(row[key] for row in rows) for key in ("step", "cpu"))
        best = min(row["step"] for row in rows)
        print(
            f"{name:6} {policy:14} {1e3 * step:8.1f} ms ({1e3 * best:.1f} at best) {cpu:8.2f} s",
            flush=True,
        )


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("text", nargs="?", type=Path, default=DATA / "english/tinyshakespeare.txt")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--busy", type=int, default=0)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    options = parser.parse_args()
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(options.busy)]
    try:
        with tempfile.TemporaryDirectory() as folder:
            data = make_data(options.text, Path(folder))
            for name in options.shapes:
                compare(name, data, Path(folder), options)
    finally:
        for other in others:
            other.kill()


if __name__ == "__main__":
    main()
