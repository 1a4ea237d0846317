"""What reading ahead costs and what the two ways of access cost: ratios of interleaved rounds.

    python benches/prefetch.py             # all rows
    python benches/prefetch.py --rounds 30

``prefetch`` is the default against none, in time per batch: handing a small one to another thread
may cost more than filling it. ``call`` against ``map`` is in tokens a second, without a thread.
Each row is the median of the ratios of its rounds, by wall and by CPU time; with ``--busy 2`` the
cores have other work, and wall time shows what a sleeping thread costs.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from lslm.data import TokenLoader, write_dataset

ROWS = {
    "prefetch 2 / 0, 1 x 128": ({"batch_size": 1, "sequence_length": 128}, "prefetch", (2, 0)),
    "prefetch 2 / 0, 8 x 512": ({"batch_size": 8, "sequence_length": 512}, "prefetch", (2, 0)),
    "call / map, 16 x 2048": ({"batch_size": 16, "sequence_length": 2048}, "access", None),
    "call / map, 64 x 512": ({"batch_size": 64, "sequence_length": 512}, "access", None),
}
TOKENS = 4 << 20
"""Tokens read in a round."""


def seconds(loader: TokenLoader, n_batches: int) -> tuple[float, float]:
    """Return wall and CPU time of ``n_batches`` batches."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(n_batches):
        next(loader)
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    """Print the median ratio of each row."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--busy", type=int, default=0, help="processes that only compute, beside")
    arguments = parser.parse_args()
    busy = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(arguments.busy)
    ]
    try:
        with tempfile.TemporaryDirectory() as folder:
            tokens = np.arange(64 << 20, dtype=np.uint32) % 50_000
            data = write_dataset(Path(folder) / "data", [tokens], vocab_size=50_257)
            for name, (options, key, values) in ROWS.items():
                fixed = options | {"output": "numpy"} | ({"prefetch": 0} if values is None else {})
                pair = [
                    TokenLoader(data, **fixed | {key: value}) for value in values or ("call", "map")
                ]
                n = max(20, TOKENS // (options["batch_size"] * options["sequence_length"]))
                for loader in pair:
                    seconds(loader, n)
                ratios = []
                for _ in range(arguments.rounds):
                    one, other = (seconds(loader, n) for loader in pair)
                    wall, cpu = (a / b for a, b in zip(one, other, strict=True))
                    # of access, the ratio of speeds
                    ratios.append((1 / wall, 1 / cpu) if values is None else (wall, cpu))
                wall, cpu = (statistics.median(column) for column in zip(*ratios, strict=True))
                print(f"{name:26} wall {wall:5.2f}   CPU {cpu:5.2f}")
    finally:
        for process in busy:
            process.kill()


if __name__ == "__main__":
    main()
