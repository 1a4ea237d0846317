"""Compare shapes that export everywhere with the default one, by runs that share seed and order.

    python benches/architectures.py DATA                   # the shape of tiny
    python benches/architectures.py DATA --config char     # of a character model: 257 tokens

DATA is a folder that ``lslm tokenize`` wrote. For each seed the default and every variant are
trained on the same batches and scored on the whole validation set; what counts is the difference
within a seed: its mean, its standard error over seeds, and its 95 % interval. A variant may replace
the default where it costs less than 0.005 bits per byte (docs/design.md).

Into benches/record/DATE-MACHINE-architectures-CONFIG.json; with --runs, runs that the file has are
not repeated, so a machine may be given back in between.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import tempfile
from pathlib import Path

from machine import record_path, write_record

import lslm
from lslm.config import load_config, replace
from lslm.huggingface import exports_as
from lslm.tuning.noise import t_quantile

CHAR = {"width": 128, "layers": 2, "heads": 4, "sequence_length": 64, "batch_size": 12}
CONFIGS = {"tiny": {}, "char": CHAR}
VARIANTS = {
    "default": {},
    "arcee": {"qk_norm": False},
    "qwen3": {"activation": "swiglu", "norm_eps": 1e-6, "qk_norm_weight": True},
    "llama": {"activation": "swiglu", "qk_norm": False},
}
"""What differs from the default; the name is the architecture that is exported."""
GOAL = 0.005
"""Bits per byte that a shape which everyone loads may cost (docs/design.md)."""


def measure(options, variant, seed):
    """Train one run; return its score on the whole validation set, its class, and its CPU time."""
    settings = CONFIGS[options.config] | VARIANTS[variant]
    before = os.times()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        config = replace(
            load_config("tiny"),
            data=options.data, out=run, seed=seed, steps=options.steps, minutes=0,
            validate_every=options.steps, validation_tokens=0, checkpoint_every=options.steps,
            threads=options.threads, **settings,
        )  # fmt: skip
        trained = lslm.train(config, progress=False)
        after = os.times()
        return {
            "bits_per_byte": trained.validation.bits_per_byte,
            "exports_as": exports_as(load_config(run / "config.toml").model),
            "cpu_seconds": round(after.user + after.system - before.user - before.system, 1),
        }


def compare(runs, n_seeds):
    """Return the difference of each variant from the default, seed by seed, with its interval."""
    rows = {}
    for variant in list(VARIANTS)[1:]:
        differences = [
            runs[f"{variant} {seed}"]["bits_per_byte"] - runs[f"default {seed}"]["bits_per_byte"]
            for seed in range(n_seeds)
        ]
        mean = statistics.mean(differences)
        error = statistics.stdev(differences) / math.sqrt(n_seeds)
        half = t_quantile(0.975, n_seeds - 1) * error
        low, high = mean - half, mean + half
        said = "neither: more seeds would tell"
        if high < GOAL:
            said = f"costs less than {GOAL}"
        elif low > GOAL:
            said = f"costs more than {GOAL}"
        rows[variant] = {
            "mean": mean, "error": error, "interval": [low, high], "answer": said,
            "differences": differences,
            "exports_as": runs[f"{variant} 0"]["exports_as"],
        }  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("data")
    parser.add_argument("--config", choices=CONFIGS, default="tiny")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=Path, default=None, metavar="FILE")
    options = parser.parse_args()
    path = record_path(f"architectures-{options.config}")  # it exits if there is such a record
    known = options.runs is not None and options.runs.exists()
    runs = json.loads(options.runs.read_text()) if known else {}
    for seed in range(options.seeds):
        for variant in VARIANTS:
            key = f"{variant} {seed}"
            if key not in runs:
                runs[key] = measure(options, variant, seed)
                if options.runs is not None:
                    options.runs.write_text(json.dumps(runs, indent=1))
            bits, cpu = (runs[key][name] for name in ("bits_per_byte", "cpu_seconds"))
            print(f"{key}: {bits:.4f} bits per byte, {cpu:.0f} s of CPU", flush=True)
    rows = compare(runs, options.seeds)
    for variant, row in rows.items():
        low, high = row["interval"]
        print(
            f"{variant:8} {row['mean']:+.4f}, 95 % interval {low:+.4f} to {high:+.4f} bits per "
            f"byte: {row['answer']}; exports as {row['exports_as']}"
        )
    command = vars(options) | {"data": Path(options.data).name}
    del command["runs"]
    write_record(path, {"figures": {"command": command, "rows": rows, "runs": runs}})


if __name__ == "__main__":
    main()
